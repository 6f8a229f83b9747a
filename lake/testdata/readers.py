"""Reads a table with deltalake and a SELECT with DuckDB; prints "ok"."""
import sys

import duckdb
import pyarrow.compute as pc
from deltalake import DeltaTable

path, sql = sys.argv[1], sys.argv[2]

table = DeltaTable(path)
assert table.protocol().min_reader_version == 1, table.protocol()
assert table.version() == 8, table.version()
data = table.to_pyarrow_table() if hasattr(table, "to_pyarrow_table") else table.to_pyarrow_dataset().to_table()
assert data.num_rows == 900, data.num_rows
assert pc.sum(data["_seq"]).as_py() == 3 * sum(range(1, 301))
assert str(data.schema.field("d38").type) == "decimal128(38, 6)", data.schema
assert str(data.schema.field("day").type) == "date32[day]", data.schema
# The last columns came with the fourth of six files.
assert str(data.schema.field("seen").type).startswith("timestamp[us"), data.schema
for name in ("seen", "Wéird name"):
    old = data.filter(pc.less_equal(data["_seq"], 150))
    assert old.num_rows == 450 and old[name].null_count == 450, (name, old[name].null_count)
    assert 0 < data[name].null_count - 450 < 100, (name, data[name].null_count)
    # An engine that reads the files alone sees the same.
    found = duckdb.sql(f"""SELECT count(*), count("{name}"), min(_seq) FILTER ("{name}" IS NOT NULL)
        FROM read_parquet('{path}/part-*.parquet', union_by_name = true)""").fetchone()
    assert found == (900, 900 - data[name].null_count, 151), (name, found)

# Pruning by statistics and page bounds must lose nothing.
con = duckdb.connect()
con.execute("SET TimeZone = 'America/New_York'")
rows = con.execute(f"SELECT count(*), min(_seq), max(_seq) FROM ({sql})").fetchone()
assert rows == (780, 21, 280), rows
whole = con.execute(f"CREATE TABLE whole AS {sql}")
for column in [c[0] for c in con.execute("DESCRIBE whole").fetchall()]:
    name = '"' + column + '"'
    for op in ("<", ">=", "="):
        if column == "doc":
            continue
        pivot = f"(SELECT {name} FROM whole WHERE {name} IS NOT NULL ORDER BY {name} LIMIT 1 OFFSET 300)"
        a = con.execute(f"SELECT count(*) FROM whole WHERE {name} {op} {pivot}").fetchone()
        z = con.execute(f"SELECT count(*) FROM ({sql}) WHERE {name} {op} {pivot}").fetchone()
        assert a == z, (column, op, a, z)
types = [c[1] for c in con.execute("DESCRIBE whole").fetchall()]
assert types == ["TIMESTAMP", "VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE",
                 "DECIMAL(9,2)", "DECIMAL(18,4)", "DECIMAL(38,6)", "JSON", "BLOB", "DATE", "TIMESTAMP", "VARCHAR",
                 "INTEGER", "INTEGER", "BIGINT", "INTEGER", "TIMESTAMP"], types
first = con.execute("SELECT epoch_us(_ingested_at) FROM whole WHERE _seq = 21 LIMIT 1").fetchone()
assert first == (1_700_000_000_000_021,), first

# Another program compacts the table and writes a checkpoint.
table.optimize.compact()
table.create_checkpoint()
print("ok")
