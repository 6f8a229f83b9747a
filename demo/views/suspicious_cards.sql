-- description: cards that pay small amounts many times within a minute
SELECT window_start, window_end, card,
       count(*) AS payments,
       count(*) FILTER (WHERE status = 'declined') AS declined,
       sum(amount) AS amount,
       min(ts) AS first_seen, max(ts) AS last_seen
FROM payments
WHERE amount < 10
GROUP BY tumble(ts, INTERVAL '1 minute'), card
HAVING count(*) >= 5
