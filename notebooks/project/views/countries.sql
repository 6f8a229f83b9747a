-- description: payments of each country, and how many were declined
SELECT country,
       count(*) AS payments,
       count(*) FILTER (WHERE status = 'declined') AS declined,
       sum(amount) AS amount
FROM payments
GROUP BY country
