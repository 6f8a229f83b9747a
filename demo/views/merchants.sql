-- description: every merchant since the beginning
SELECT merchant,
       count(*) AS payments,
       sum(amount) FILTER (WHERE status = 'approved') AS revenue,
       avg(amount) AS mean, stddev_pop(amount) AS spread,
       count(*) FILTER (WHERE status = 'declined') / count(*) AS declined_share
FROM payments
GROUP BY merchant
