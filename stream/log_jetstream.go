package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// dedupWindow is how long the store remembers message ids. A publisher
	// gives up on an envelope long before (PublisherConfig.Timeout).
	dedupWindow = 2 * time.Minute
	// pullBytes bounds what a subscription asks for at once: 500 messages of
	// 1 MB, the client's default, were seen to take 1 GB.
	pullBytes = 16 << 20
	// fullRetry is how long a full log is taken to stay full: freeing room
	// takes a landing commit and a purge.
	fullRetry = 250 * time.Millisecond
	// requestTimeout bounds a question to the store.
	requestTimeout = 5 * time.Second
)

// Error codes of the JetStream API
// (https://github.com/nats-io/nats-server/blob/main/server/errors.json).
const (
	codeInsufficientResources = 10023
	codeStorageExceeded       = 10047
	codeMessageTooLarge       = 10054
	codeStoreFailed           = 10077
)

// A jetStreamLog is a stream of a NATS server with one subject. The server
// must sync always, or an append resolves before it is durable.
type jetStreamLog struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string
}

var _ Log = (*jetStreamLog)(nil)

// openJetStreamLog opens or creates the stream TW_<name>.
func openJetStreamLog(ctx context.Context, js jetstream.JetStream, name string, maxBytes int64, replicas int) (*jetStreamLog, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	subject := "tailwater." + name + ".0"
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        "TW_" + name,
		Description: "Tailwater stream " + name,
		Subjects:    []string{subject},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    maxBytes,
		MaxMsgSize:  MaxMessageBytes,
		Duplicates:  dedupWindow,
		Replicas:    replicas,
		// Reads go to the leader: a follower may lack what was acknowledged.
		AllowDirect: false,
	})
	if err != nil {
		return nil, fmt.Errorf("open log of stream %s: %w: if another program made the JetStream stream TW_%s, rename or remove it", name, err, name)
	}
	return &jetStreamLog{js: js, stream: s, subject: subject}, nil
}

type jetStreamPending struct{ jetstream.PubAckFuture }

// Append implements Log.
func (l *jetStreamLog) Append(ctx context.Context, id string, data []byte) (Pending, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(data) > MaxMessageBytes {
		return nil, ErrTooLarge
	}
	// The publisher retries, with its own patience; the client must not.
	future, err := l.js.PublishMsgAsync(&nats.Msg{Subject: l.subject, Data: data}, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, classify("append", err)
	}
	return jetStreamPending{future}, nil
}

// Wait implements Pending.
func (p jetStreamPending) Wait(ctx context.Context) (uint64, error) {
	select {
	case ack := <-p.Ok():
		return ack.Sequence, nil
	case err := <-p.Err():
		return 0, classify("append", err)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Subscribe implements Log.
func (l *jetStreamLog) Subscribe(ctx context.Context, after uint64, yield func(Message) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	setup, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := l.stream.OrderedConsumer(setup, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   after + 1,
	})
	if err != nil {
		return errors.Join(ctx.Err(), classify("subscribe", err))
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(1024, pullBytes))
	if err != nil {
		return errors.Join(ctx.Err(), classify("subscribe", err))
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return classify("read", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return classify("read", err)
		}
		seq := meta.Sequence.Stream
		if seq <= after {
			continue // a reset of the consumer may repeat
		}
		if err := yield(Message{Seq: seq, Stamp: meta.Timestamp, Data: msg.Data()}); err != nil {
			return err
		}
		after = seq
	}
}

// Get implements Log.
func (l *jetStreamLog) Get(ctx context.Context, seq uint64) (Message, error) {
	if seq == 0 {
		return Message{}, fmt.Errorf("message 0: %w", ErrNotExist)
	}
	return l.get(ctx, seq)
}

// Next implements Log.
func (l *jetStreamLog) Next(ctx context.Context, after uint64) (Message, error) {
	return l.get(ctx, after+1, jetstream.WithGetMsgSubject(l.subject))
}

func (l *jetStreamLog) get(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	raw, err := l.stream.GetMsg(ctx, seq, opts...)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Message{}, fmt.Errorf("message %d: %w", seq, ErrNotExist)
	}
	if err != nil {
		return Message{}, classify("get", err)
	}
	return Message{Seq: raw.Sequence, Stamp: raw.Time, Data: raw.Data}, nil
}

// Bounds implements Log.
func (l *jetStreamLog) Bounds(ctx context.Context) (first, last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, 0, classify("bounds", err)
	}
	if info.State.Msgs == 0 {
		return info.State.LastSeq + 1, info.State.LastSeq, nil
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// Purge implements Log.
func (l *jetStreamLog) Purge(ctx context.Context, through uint64) error {
	_, last, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	// Purging beyond the end would move the server's last sequence.
	through = min(through, last)
	if through == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(through+1)); err != nil {
		return classify("purge", err)
	}
	return nil
}

// classify turns an error of the client or server into one of Log's.
func classify(op string, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeMessageTooLarge:
			return ErrTooLarge
		case codeStorageExceeded, codeInsufficientResources:
			return &FullError{Retry: fullRetry}
		case codeStoreFailed:
			// One code for every failure of the store; only its text tells
			// the byte limit from a broken disk.
			if strings.Contains(api.Description, "maximum bytes") || strings.Contains(api.Description, "maximum messages") {
				return &FullError{Retry: fullRetry}
			}
		}
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return ErrTooLarge
	}
	return fmt.Errorf("%s: %w (%w)", op, ErrUnavailable, err)
}
