package policy

// The texts below are part of the built-in bundle's head, to the byte. They are
// string literals rather than embedded files because a checkout may rewrite the
// line endings of files.

const builtinSchema = `// Who may be in what.
entity Org;
entity Role in [Role, Org];
entity User in [Role, Org];
entity Agent in [Role, Org];
entity Service in [Role, Org];
entity Enclave in [Role, Org];
entity Collection in [Collection];
entity Dataset in [Collection];
entity Model in [Collection];

type Asked = {
	purpose: String,
	reason: String,
	region: String,
	now: datetime,
	classification: Long,
	attested: Bool,
	consented: Bool,
	owner: String,
	byOwner: Bool,
	batch: Long,
	used: Long,
	labels: Set<String>,
};

action carry, read, infer, deploy, delegate, revoke, audit, grant appliesTo {
	principal: [User, Agent, Service, Enclave],
	resource: [Dataset, Model, Collection],
	context: Asked,
};
`

const builtinPolicy = `permit (principal, action, resource)
when { context.consented };
`

// Builtin is the bundle that a network starts with: whatever the owner consented
// to is allowed, everything else is denied. Every call returns a new copy.
func Builtin() *Bundle {
	return &Bundle{
		Engine:   EngineName,
		Schema:   builtinSchema,
		Policies: []Policy{{ID: "default", Text: builtinPolicy}},
	}
}
