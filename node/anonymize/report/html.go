package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
)

// KindOf is "json" or "html" by a file's name, or "".
func KindOf(name string) string {
	switch name = strings.ToLower(name); {
	case strings.HasSuffix(name, ".json"):
		return "json"
	case strings.HasSuffix(name, ".html"), strings.HasSuffix(name, ".htm"):
		return "html"
	}
	return ""
}

// Write writes the report as a kind of [KindOf].
func (r *Report) Write(w io.Writer, kind string) error {
	if kind == "html" {
		return r.WriteHTML(w)
	}
	return r.WriteJSON(w)
}

//go:embed page.css
var style string

//go:embed page.html
var page string

var pages = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": percent,
	"n":       func(n int) string { return humanize.Comma(int64(n)) },
	"f":       func(x float64) string { return fmt.Sprintf("%.4g", x) },
	"join":    func(s []string) string { return strings.Join(s, ", ") },
	"bytes":   func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) },
	"minus":   func(x float64) float64 { return 1 - x },
}).Parse(page))

// WriteHTML writes the report as a page. Its policy forbids it to load or to run anything.
func (r *Report) WriteHTML(w io.Writer) error {
	sum := sha256.Sum256([]byte(style))
	return pages.Execute(w, map[string]any{
		"Report":  r,
		"Style":   template.CSS(style),
		"Policy":  "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
		"Risks":   r.riskPlot(),
		"Classes": r.classPlot(),
		"Columns": r.columnPlot(),
	})
}

func percent(x float64) string {
	switch p := 100 * x; {
	case x == 0:
		return "0 %"
	case p < 0.01:
		return "under 0.01 %"
	case p < 10:
		return fmt.Sprintf("%.2g %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}
