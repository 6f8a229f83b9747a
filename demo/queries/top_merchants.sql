-- description: the merchants with the highest revenue of a country, from the raw payments
-- param: country VARCHAR
-- param: least DECIMAL(12,2) = 0
-- param: since TIMESTAMP = NULL
-- param: rows INTEGER = 10
SELECT merchant, count(*) AS payments, sum(amount) AS revenue
FROM payments
WHERE country = $country AND status = 'approved' AND amount >= $least
  AND ($since IS NULL OR ts >= $since)
GROUP BY merchant
ORDER BY revenue DESC, merchant
LIMIT $rows
