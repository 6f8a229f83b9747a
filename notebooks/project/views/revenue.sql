-- description: revenue of each merchant, minute by minute
SELECT window_start, window_end, merchant,
       count(*) AS payments,
       sum(amount) AS revenue,
       avg(amount) AS mean
FROM payments
WHERE status = 'approved'
GROUP BY tumble(ts, INTERVAL '1 minute'), merchant
