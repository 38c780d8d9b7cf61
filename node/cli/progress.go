package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

const (
	barAfter = time.Second // shorter operations show nothing
	barEvery = 200 * time.Millisecond
	barWidth = 30
)

// watch names an operation and, on a terminal, shows its progress on standard
// error once it has taken a second. stop takes the bar away and must be called
// before anything else is printed.
func (e *Env) watch(ctx context.Context, s api.Service) (op string, stop func()) {
	f, ok := e.Err.(*os.File)
	if e.Quiet || e.JSON || !ok || !term.IsTerminal(int(f.Fd())) {
		return "", func() {}
	}
	op = rand.Text()
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		drawBar(ctx, e.Err, s, op)
	}()
	return op, func() {
		cancel()
		<-gone
	}
}

func drawBar(ctx context.Context, w io.Writer, s api.Service, op string) {
	began := time.Now()
	wait, drawn := barAfter, false
	for {
		select {
		case <-ctx.Done():
			if drawn {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		case <-time.After(wait):
		}
		wait = barEvery
		p, err := s.Progress(ctx, api.ProgressRequest{Op: op})
		if err != nil {
			continue // it is only a bar
		}
		drawn = true
		fmt.Fprintf(w, "\r\x1b[K%s", bar(p.Done, p.Total, time.Since(began)))
	}
}

// bar is one line of progress.
func bar(done, total int64, took time.Duration) string {
	speed := humanize.IBytes(uint64(float64(done) / max(took.Seconds(), 0.001)))
	if total <= 0 {
		return fmt.Sprintf("%s, %s/s", humanize.IBytes(uint64(done)), speed)
	}
	done = min(done, total)
	full := int(done * barWidth / total)
	return fmt.Sprintf("[%s%s] %3d%%  %s of %s, %s/s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		done*100/total, humanize.IBytes(uint64(done)), humanize.IBytes(uint64(total)), speed)
}
