-- time: ts
-- id: id
-- dedup-window: 1h
CREATE TABLE payments (
  id VARCHAR NOT NULL,
  ts TIMESTAMP NOT NULL,
  merchant VARCHAR NOT NULL,
  country VARCHAR,
  amount DECIMAL(12,2) NOT NULL
);
