package policy

import (
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// overlay is a bundle's entities as one request sees them: its principal has
// roles and its object is in collections that the bundle does not know of. The
// bundle's map is shared by all requests and never copied.
type overlay struct {
	base                cedar.EntityMap
	principal, resource cedar.Entity
}

// Get implements cedar.EntityGetter.
func (o *overlay) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case o.principal.UID:
		return o.principal, true
	case o.resource.UID:
		return o.resource, true
	}
	return o.base.Get(uid)
}

// overlay adds roles and collections to what the bundle says of the principal
// and the object.
func (e *Engine) overlay(q cedar.Request, roles []string, scopes []statement.ID) types.EntityGetter {
	if len(roles) == 0 && len(scopes) == 0 {
		return e.entities
	}
	in := make([]cedar.EntityUID, 0, len(roles))
	for _, r := range roles {
		in = append(in, cedar.NewEntityUID("Role", cedar.String(r)))
	}
	holds := make([]cedar.EntityUID, 0, len(scopes))
	for _, s := range scopes {
		holds = append(holds, cedar.NewEntityUID("Collection", cedar.String(s.String())))
	}
	return &overlay{base: e.entities, principal: within(e.entities, q.Principal, in), resource: within(e.entities, q.Resource, holds)}
}

// within is an entity of the bundle, or one that it does not list, with more parents.
func within(base cedar.EntityMap, uid cedar.EntityUID, parents []cedar.EntityUID) cedar.Entity {
	entity, ok := base[uid]
	if !ok {
		return cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...)}
	}
	for p := range entity.Parents.All() {
		parents = append(parents, p)
	}
	entity.Parents = cedar.NewEntityUIDSet(parents...) // a new set: the bundle's own stays
	return entity
}
