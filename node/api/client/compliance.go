package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// SubjectExport implements api.Compliance.
func (c *Client) SubjectExport(ctx context.Context, r api.SubjectExportRequest) (*api.SubjectExported, error) {
	return call[api.SubjectExported](ctx, c, "subject-export", r)
}

// SubjectForget implements api.Compliance.
func (c *Client) SubjectForget(ctx context.Context, r api.SubjectForgetRequest) (*api.SubjectForgotten, error) {
	return call[api.SubjectForgotten](ctx, c, "subject-forget", r)
}

// AccessReview implements api.Compliance.
func (c *Client) AccessReview(ctx context.Context, r api.AccessReviewRequest) (*api.AccessReview, error) {
	return call[api.AccessReview](ctx, c, "access-review", r)
}

// ProcessingRecords implements api.Compliance.
func (c *Client) ProcessingRecords(ctx context.Context) (*api.ProcessingRecords, error) {
	return call[api.ProcessingRecords](ctx, c, "processing-records", struct{}{})
}
