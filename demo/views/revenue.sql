-- description: payments and revenue of each country, minute by minute
SELECT window_start, window_end, country,
       count(*) AS payments,
       sum(amount) FILTER (WHERE status = 'approved') AS revenue,
       count(*) FILTER (WHERE status = 'declined') AS declined,
       max(amount) AS largest
FROM payments
GROUP BY tumble(ts, INTERVAL '1 minute'), country
