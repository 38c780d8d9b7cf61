package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/api"
)

// AuditExport implements api.Audit.
func (c *Client) AuditExport(ctx context.Context, r api.AuditExportRequest) (*api.AuditExported, error) {
	return call[api.AuditExported](ctx, c, "audit-export", r)
}

// AuditPrune implements api.Audit.
func (c *Client) AuditPrune(ctx context.Context, r api.AuditPruneRequest) (*api.AuditPruned, error) {
	return call[api.AuditPruned](ctx, c, "audit-prune", r)
}

// AuditLog implements api.Audit.
func (c *Client) AuditLog(ctx context.Context, r api.AuditLogRequest, w io.Writer) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, "audit-log-stream", bytes.NewReader(raw), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out := &output{w: w}
	if _, err := io.Copy(out, resp.Body); err != nil {
		switch {
		case ctx.Err() != nil && r.Follow:
			return nil
		case out.err != nil || ctx.Err() != nil:
			return err
		}
		return gone(fmt.Errorf("read: %w", err))
	}
	return api.DecodeEnd(resp.Trailer.Get(api.ResultTrailer))
}

// Receipts implements api.Audit.
func (c *Client) Receipts(ctx context.Context, r api.ReceiptsRequest) (*api.ReceiptList, error) {
	return call[api.ReceiptList](ctx, c, "receipts", r)
}

// Receipt implements api.Audit.
func (c *Client) Receipt(ctx context.Context, r api.ReceiptRequest) (*api.ReceiptFile, error) {
	return call[api.ReceiptFile](ctx, c, "receipt", r)
}
