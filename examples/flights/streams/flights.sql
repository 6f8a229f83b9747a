-- time: date
-- time-format: %Y/%m/%d %H:%M
CREATE TABLE flights (
  date TIMESTAMP NOT NULL,
  delay INTEGER,
  distance INTEGER,
  origin VARCHAR NOT NULL,
  destination VARCHAR NOT NULL
);
