-- time: ts
-- id: id
-- dedup-window: 2m
CREATE TABLE payments (
  id VARCHAR NOT NULL,
  ts TIMESTAMP NOT NULL,
  card VARCHAR NOT NULL,
  merchant VARCHAR NOT NULL,
  country VARCHAR,
  amount DECIMAL(12,2) NOT NULL,
  status VARCHAR NOT NULL
);
