import java.sql.*;
import java.util.*;

/** What Java programs do with a database: its metadata, statements with parameters, cursors, a cancel. */
public class Client {
    static void print(String what, ResultSet rs, String... columns) throws SQLException {
        System.out.println("== " + what);
        ResultSetMetaData md = rs.getMetaData();
        if (columns.length == 0) {
            columns = new String[md.getColumnCount()];
            for (int i = 0; i < columns.length; i++) columns[i] = md.getColumnLabel(i + 1);
        }
        while (rs.next()) {
            StringJoiner line = new StringJoiner("|");
            for (String c : columns) line.add(String.valueOf(rs.getObject(c)));
            System.out.println(line);
        }
        rs.close();
    }

    interface Step { void run() throws Exception; }

    static void fails(String what, Step step) {
        try {
            step.run();
            System.out.println("== " + what + "\nno error");
        } catch (SQLException e) {
            System.out.println("== " + what + "\n" + e.getSQLState());
        } catch (Exception e) {
            System.out.println("== " + what + "\n" + e);
        }
    }

    static void metadata(Connection c) throws SQLException {
        DatabaseMetaData m = c.getMetaData();
        System.out.println("== product\n" + m.getDatabaseProductName() + " " + m.getDatabaseMajorVersion() + " " + c.getCatalog() + " " + c.getSchema() + " " + c.isReadOnly());
        print("schemas", m.getSchemas(), "TABLE_SCHEM");
        print("schemas like pub%", m.getSchemas(null, "pub%"), "TABLE_SCHEM");
        print("catalogs", m.getCatalogs(), "TABLE_CAT");
        print("tables", m.getTables(null, "public", "%", null), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS");
        print("views", m.getTables(null, null, "%", new String[] {"VIEW"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE");
        print("tables and views", m.getTables(null, null, "d%", new String[] {"TABLE", "VIEW", "MATERIALIZED VIEW", "PARTITIONED TABLE", "FOREIGN TABLE"}), "TABLE_NAME");
        print("columns", m.getColumns(null, "public", "payments", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "NULLABLE", "REMARKS", "ORDINAL_POSITION", "IS_NULLABLE", "IS_AUTOINCREMENT");
        print("primary keys", m.getPrimaryKeys(null, "public", "payments"));
        print("imported keys", m.getImportedKeys(null, "public", "payments"));
        print("exported keys", m.getExportedKeys(null, "public", "payments"));
        print("cross reference", m.getCrossReference(null, "public", "payments", null, "public", "daily"));
        print("indexes", m.getIndexInfo(null, "public", "payments", false, false));
        print("best row identifier", m.getBestRowIdentifier(null, "public", "payments", 0, true));
        print("version columns", m.getVersionColumns(null, "public", "payments"), "COLUMN_NAME");
        print("table types", m.getTableTypes());
        print("table privileges", m.getTablePrivileges(null, "public", "payments"), "TABLE_NAME", "PRIVILEGE");
        print("column privileges", m.getColumnPrivileges(null, "public", "payments", "id"), "COLUMN_NAME", "PRIVILEGE");
        print("functions", m.getFunctions(null, "public", "%"));
        print("function columns", m.getFunctionColumns(null, "public", "%", "%"));
        print("procedures", m.getProcedures(null, "public", "%"));
        print("procedure columns", m.getProcedureColumns(null, "public", "%", "%"));
        print("user types", m.getUDTs(null, "public", "%", null));
        print("client info", m.getClientInfoProperties(), "NAME");
        int types = 0;
        Set<String> wanted = new TreeSet<>(List.of("bool", "int8", "numeric", "text", "timestamp", "json", "bytea", "float8", "date"));
        try (ResultSet rs = m.getTypeInfo()) {
            while (rs.next()) { types++; wanted.remove(rs.getString("TYPE_NAME")); }
        }
        System.out.println("== types\n" + (types > 30) + " missing " + wanted);
        System.out.println("== keywords\n" + m.getSQLKeywords().contains("qualify"));
        System.out.println("== limits\n" + m.getMaxColumnNameLength() + " " + m.getMaxColumnsInIndex() + " " + m.getDefaultTransactionIsolation());
    }

    static void statements(Connection c) throws Exception {
        for (int round = 0; round < 8; round++) { // from the fifth on, a named statement and binary results
            try (PreparedStatement p = c.prepareStatement("SELECT id, merchant, amount, ts, ok, doc FROM payments WHERE id = ? AND merchant = ? AND amount < ? AND ts >= ?")) {
                p.setLong(1, 7);
                p.setString(2, "m2");
                p.setBigDecimal(3, new java.math.BigDecimal("99.5"));
                p.setTimestamp(4, Timestamp.valueOf("2024-05-01 00:00:00"), Calendar.getInstance(TimeZone.getTimeZone("UTC")));
                if (round == 0) System.out.println("== parameters\n" + p.getParameterMetaData().getParameterCount());
                ResultSet rs = p.executeQuery();
                if (round == 0 || round == 7) print("prepared", rs);
                rs.close();
            }
        }
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.setFetchSize(7); // a portal that is suspended
            ResultSet rs = s.executeQuery("SELECT id FROM payments ORDER BY id");
            long sum = 0, n = 0;
            while (rs.next()) { sum += rs.getLong(1); n++; }
            System.out.println("== fetched by sevens\n" + n + " " + sum);
        }
        c.commit();
        c.setAutoCommit(true);
        fails("insert", () -> { try (Statement s = c.createStatement()) { s.executeUpdate("INSERT INTO payments VALUES (1)"); } });
        fails("unknown table", () -> { try (Statement s = c.createStatement()) { s.executeQuery("SELECT * FROM nothing"); } });
        fails("unknown column", () -> { try (Statement s = c.createStatement()) { s.executeQuery("SELECT nothing FROM payments"); } });
        fails("syntax", () -> { try (Statement s = c.createStatement()) { s.executeQuery("SELEC 1"); } });
        fails("timeout", () -> { try (Statement s = c.createStatement()) { s.setQueryTimeout(1); s.executeQuery("SELECT sum(a.id * b.id + c.id + d.id) FROM payments a, payments b, payments c, payments d"); } });
        try (Statement s = c.createStatement()) {
            print("after errors", s.executeQuery("SELECT count(*) AS n FROM payments"));
        }
    }

    public static void main(String[] args) throws Exception {
        try (Connection c = DriverManager.getConnection(args[0])) {
            metadata(c);
            statements(c);
        }
    }
}
