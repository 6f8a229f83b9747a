-- description: revenue of each merchant, minute by minute
SELECT window_start, window_end, merchant,
       count(*) AS payments, sum(amount) AS revenue, max(amount) AS largest
FROM payments
GROUP BY tumble(ts, INTERVAL '1 minute'), merchant
