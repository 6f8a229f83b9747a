-- description: payments by country since the beginning
SELECT country, count(*) AS payments, avg(amount) AS mean, stddev_pop(amount) AS spread,
       count(*) FILTER (WHERE amount >= 100) AS large
FROM payments
GROUP BY country
