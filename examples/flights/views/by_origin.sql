-- description: departures and delays of each airport, hour by hour
SELECT window_start, window_end, origin,
       count(*) AS flights, avg(delay) AS mean_delay, max(delay) AS worst,
       count(*) FILTER (WHERE delay > 60) AS late
FROM flights
GROUP BY tumble(date, INTERVAL '1 hour'), origin
