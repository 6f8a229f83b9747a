-- description: every route since the beginning
SELECT origin, destination, count(*) AS flights, sum(distance) AS miles, stddev_pop(delay) AS spread
FROM flights
GROUP BY origin, destination
