-- information_schema, over the tables of catalog.sql.
CREATE VIEW tw."information_schema.schemata" AS SELECT getvariable('tw_database')::VARCHAR AS catalog_name, nspname AS schema_name, 'tailwater' AS schema_owner, NULL::VARCHAR AS default_character_set_catalog, NULL::VARCHAR AS default_character_set_schema, NULL::VARCHAR AS default_character_set_name, NULL::VARCHAR AS sql_path
	FROM tw."pg_catalog.pg_namespace";
CREATE VIEW tw."information_schema.tables" AS SELECT getvariable('tw_database')::VARCHAR AS table_catalog, nspname AS table_schema, relname AS table_name, CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'BASE TABLE' END AS table_type, NULL::VARCHAR AS self_referencing_column_name, NULL::VARCHAR AS reference_generation,
	NULL::VARCHAR AS user_defined_type_catalog, NULL::VARCHAR AS user_defined_type_schema, NULL::VARCHAR AS user_defined_type_name, 'NO' AS is_insertable_into, 'NO' AS is_typed, NULL::VARCHAR AS commit_action FROM tw.visible;
CREATE VIEW tw."information_schema.columns" AS SELECT getvariable('tw_database')::VARCHAR AS table_catalog, v.nspname AS table_schema, v.relname AS table_name, a.attname AS column_name, a.attnum::INTEGER AS ordinal_position, NULL::VARCHAR AS column_default,
	CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END AS is_nullable, CASE WHEN t.typcategory = 'A' THEN 'ARRAY' ELSE t.sqlname END AS data_type, NULL::INTEGER AS character_maximum_length, CASE WHEN t.typcategory = 'S' THEN 1073741824 END::INTEGER AS character_octet_length,
	CASE t.typname WHEN 'int2' THEN 16 WHEN 'int4' THEN 32 WHEN 'int8' THEN 64 WHEN 'float4' THEN 24 WHEN 'float8' THEN 53 WHEN 'numeric' THEN CASE WHEN a.atttypmod > 0 THEN (a.atttypmod - 4) >> 16 END END::INTEGER AS numeric_precision,
	CASE WHEN t.typname IN ('int2', 'int4', 'int8', 'float4', 'float8') THEN 2 WHEN t.typname = 'numeric' THEN 10 END::INTEGER AS numeric_precision_radix, CASE WHEN t.typname IN ('int2', 'int4', 'int8') THEN 0 WHEN t.typname = 'numeric' AND a.atttypmod > 0 THEN (a.atttypmod - 4) & 2047 END::INTEGER AS numeric_scale,
	CASE WHEN t.typname LIKE 'timestamp%' THEN 6 WHEN t.typname = 'date' THEN 0 END::INTEGER AS datetime_precision, NULL::VARCHAR AS interval_type, NULL::INTEGER AS interval_precision, NULL::VARCHAR AS character_set_catalog, NULL::VARCHAR AS character_set_schema, NULL::VARCHAR AS character_set_name,
	NULL::VARCHAR AS collation_catalog, NULL::VARCHAR AS collation_schema, NULL::VARCHAR AS collation_name, NULL::VARCHAR AS domain_catalog, NULL::VARCHAR AS domain_schema, NULL::VARCHAR AS domain_name, getvariable('tw_database')::VARCHAR AS udt_catalog, 'pg_catalog' AS udt_schema, t.typname AS udt_name,
	NULL::VARCHAR AS scope_catalog, NULL::VARCHAR AS scope_schema, NULL::VARCHAR AS scope_name, NULL::INTEGER AS maximum_cardinality, a.attnum::VARCHAR AS dtd_identifier, 'NO' AS is_self_referencing, 'NO' AS is_identity, NULL::VARCHAR AS identity_generation, NULL::VARCHAR AS identity_start, NULL::VARCHAR AS identity_increment,
	NULL::VARCHAR AS identity_maximum, NULL::VARCHAR AS identity_minimum, 'NO' AS identity_cycle, 'NEVER' AS is_generated, NULL::VARCHAR AS generation_expression, 'NO' AS is_updatable
	FROM tw.visible v JOIN tw."pg_catalog.pg_attribute" a ON a.attrelid = v.oid JOIN tw.known_type t ON t.oid = a.atttypid;
CREATE VIEW tw."information_schema.views" AS SELECT getvariable('tw_database')::VARCHAR AS table_catalog, schemaname AS table_schema, viewname AS table_name, definition AS view_definition, 'NONE' AS check_option, 'NO' AS is_updatable, 'NO' AS is_insertable_into, 'NO' AS is_trigger_updatable, 'NO' AS is_trigger_deletable, 'NO' AS is_trigger_insertable_into
	FROM tw."pg_catalog.pg_views";
CREATE VIEW tw."information_schema.table_privileges" AS SELECT 'tailwater' AS grantor, getvariable('tw_user')::VARCHAR AS grantee, getvariable('tw_database')::VARCHAR AS table_catalog, nspname AS table_schema, relname AS table_name, 'SELECT' AS privilege_type, 'NO' AS is_grantable, 'YES' AS with_hierarchy FROM tw.visible;
CREATE VIEW tw."information_schema.role_table_grants" AS FROM tw."information_schema.table_privileges";
CREATE VIEW tw."information_schema.column_privileges" AS SELECT 'tailwater' AS grantor, getvariable('tw_user')::VARCHAR AS grantee, getvariable('tw_database')::VARCHAR AS table_catalog, v.nspname AS table_schema, v.relname AS table_name, a.attname AS column_name, 'SELECT' AS privilege_type, 'NO' AS is_grantable FROM tw.visible v JOIN tw."pg_catalog.pg_attribute" a ON a.attrelid = v.oid;
CREATE VIEW tw."information_schema.information_schema_catalog_name" AS SELECT getvariable('tw_database')::VARCHAR AS catalog_name;
CREATE VIEW tw."information_schema.enabled_roles" AS SELECT getvariable('tw_user')::VARCHAR AS role_name;
CREATE VIEW tw."information_schema.applicable_roles" AS SELECT getvariable('tw_user')::VARCHAR AS grantee, getvariable('tw_user')::VARCHAR AS role_name, 'NO' AS is_grantable;
CREATE TABLE tw."information_schema.table_constraints" (constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR, table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, constraint_type VARCHAR, is_deferrable VARCHAR, initially_deferred VARCHAR, enforced VARCHAR, nulls_distinct VARCHAR);
CREATE TABLE tw."information_schema.key_column_usage" (constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR, table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, column_name VARCHAR, ordinal_position INTEGER, position_in_unique_constraint INTEGER);
CREATE TABLE tw."information_schema.constraint_column_usage" (table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, column_name VARCHAR, constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR);
CREATE TABLE tw."information_schema.constraint_table_usage" (table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR);
CREATE TABLE tw."information_schema.referential_constraints" (constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR, unique_constraint_catalog VARCHAR, unique_constraint_schema VARCHAR, unique_constraint_name VARCHAR, match_option VARCHAR, update_rule VARCHAR, delete_rule VARCHAR);
CREATE TABLE tw."information_schema.check_constraints" (constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR, check_clause VARCHAR);
CREATE TABLE tw."information_schema.routines" (specific_catalog VARCHAR, specific_schema VARCHAR, specific_name VARCHAR, routine_catalog VARCHAR, routine_schema VARCHAR, routine_name VARCHAR, routine_type VARCHAR, data_type VARCHAR, type_udt_name VARCHAR, routine_body VARCHAR, routine_definition VARCHAR, external_language VARCHAR, is_deterministic VARCHAR, security_type VARCHAR);
CREATE TABLE tw."information_schema.parameters" (specific_catalog VARCHAR, specific_schema VARCHAR, specific_name VARCHAR, ordinal_position INTEGER, parameter_mode VARCHAR, parameter_name VARCHAR, data_type VARCHAR, udt_name VARCHAR);
CREATE TABLE tw."information_schema.sequences" (sequence_catalog VARCHAR, sequence_schema VARCHAR, sequence_name VARCHAR, data_type VARCHAR, start_value VARCHAR, minimum_value VARCHAR, maximum_value VARCHAR, increment VARCHAR, cycle_option VARCHAR);
CREATE TABLE tw."information_schema.triggers" (trigger_catalog VARCHAR, trigger_schema VARCHAR, trigger_name VARCHAR, event_manipulation VARCHAR, event_object_catalog VARCHAR, event_object_schema VARCHAR, event_object_table VARCHAR, action_order INTEGER, action_condition VARCHAR, action_statement VARCHAR, action_orientation VARCHAR, action_timing VARCHAR);
CREATE TABLE tw."information_schema.domains" (domain_catalog VARCHAR, domain_schema VARCHAR, domain_name VARCHAR, data_type VARCHAR, domain_default VARCHAR, udt_name VARCHAR);
CREATE TABLE tw."information_schema.character_sets" AS SELECT NULL::VARCHAR AS character_set_catalog, NULL::VARCHAR AS character_set_schema, 'UTF8' AS character_set_name, 'UCS' AS character_repertoire, 'UTF8' AS form_of_use, NULL::VARCHAR AS default_collate_catalog, 'pg_catalog' AS default_collate_schema, 'default' AS default_collate_name;
CREATE TABLE tw."information_schema.collations" (collation_catalog VARCHAR, collation_schema VARCHAR, collation_name VARCHAR, pad_attribute VARCHAR);
CREATE TABLE tw."information_schema.element_types" (object_catalog VARCHAR, object_schema VARCHAR, object_name VARCHAR, object_type VARCHAR, collection_type_identifier VARCHAR, data_type VARCHAR, udt_name VARCHAR);
CREATE TABLE tw."information_schema.foreign_tables" (foreign_table_catalog VARCHAR, foreign_table_schema VARCHAR, foreign_table_name VARCHAR, foreign_server_name VARCHAR);
CREATE TABLE tw."information_schema.view_table_usage" (view_catalog VARCHAR, view_schema VARCHAR, view_name VARCHAR, table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR);

-- The catalogue's own tables are relations too: their numbers stand for classes.
CREATE TABLE tw.own AS SELECT CASE name WHEN 'pg_type' THEN 1247 WHEN 'pg_attribute' THEN 1249 WHEN 'pg_proc' THEN 1255 WHEN 'pg_class' THEN 1259 WHEN 'pg_authid' THEN 1260 WHEN 'pg_database' THEN 1262 WHEN 'pg_constraint' THEN 2606
	WHEN 'pg_description' THEN 2609 WHEN 'pg_am' THEN 2601 WHEN 'pg_rewrite' THEN 2618 WHEN 'pg_trigger' THEN 2620 WHEN 'pg_namespace' THEN 2615 WHEN 'pg_extension' THEN 3079 WHEN 'pg_collation' THEN 3456 WHEN 'pg_tablespace' THEN 1213
	WHEN 'pg_foreign_data_wrapper' THEN 2328 WHEN 'pg_foreign_server' THEN 1417 WHEN 'pg_language' THEN 2612 WHEN 'pg_policy' THEN 3256 WHEN 'pg_publication' THEN 6104 WHEN 'pg_operator' THEN 2617 WHEN 'pg_index' THEN 2610
	ELSE 12000 + row_number() OVER (ORDER BY schema, name) END::UINTEGER AS oid, schema, name, view
	FROM (SELECT string_split(table_name, '.')[1] AS schema, string_split(table_name, '.')[2] AS name, table_type = 'VIEW' AND NOT table_name IN ('pg_catalog.pg_class', 'pg_catalog.pg_attribute', 'pg_catalog.pg_description') AS view FROM information_schema.tables
		WHERE table_schema = 'tw' AND contains(table_name, '.') AND NOT regexp_matches(table_name, 'explode|_to_table|keywords|ancestors|_tree|get_'));
INSERT INTO tw.every_pg_class BY NAME SELECT oid, name AS relname, CASE schema WHEN 'pg_catalog' THEN 11 ELSE 13000 END AS relnamespace, 0 AS reltype, 0 AS reloftype, 10 AS relowner, CASE WHEN view THEN 0 ELSE 2 END AS relam, oid AS relfilenode, 0 AS reltablespace, 0 AS relpages, -1 AS reltuples,
	0 AS relallvisible, 0 AS reltoastrelid, false AS relhasindex, false AS relisshared, 'p' AS relpersistence, CASE WHEN view THEN 'v' ELSE 'r' END AS relkind, 0 AS relnatts, 0 AS relchecks, false AS relhasrules, false AS relhastriggers, false AS relhassubclass, false AS relrowsecurity,
	false AS relforcerowsecurity, true AS relispopulated, 'n' AS relreplident, false AS relispartition, 0 AS relrewrite FROM tw.own;
INSERT INTO tw.every_pg_attribute BY NAME SELECT o.oid AS attrelid, c.column_name AS attname, t.oid AS atttypid, -1 AS attstattarget, t.typlen AS attlen, c.ordinal_position AS attnum, 0 AS attndims, -1 AS attcacheoff, -1 AS atttypmod, false AS attbyval, 'i' AS attalign, 'p' AS attstorage, '' AS attcompression,
	false AS attnotnull, false AS atthasdef, false AS atthasmissing, '' AS attidentity, '' AS attgenerated, false AS attisdropped, true AS attislocal, 0 AS attinhcount, 0 AS attcollation
	FROM tw.own o JOIN information_schema.columns c ON c.table_schema = 'tw' AND c.table_name = o.schema || '.' || o.name
	JOIN tw.known_type t ON t.typname = CASE c.data_type WHEN 'UINTEGER' THEN 'oid' WHEN 'VARCHAR' THEN 'text' WHEN 'SMALLINT' THEN 'int2' WHEN 'INTEGER' THEN 'int4' WHEN 'BIGINT' THEN 'int8' WHEN 'BOOLEAN' THEN 'bool' WHEN 'FLOAT' THEN 'float4' WHEN 'TIMESTAMP' THEN 'timestamp'
		WHEN 'VARCHAR[]' THEN '_text' WHEN 'SMALLINT[]' THEN '_int2' WHEN 'UINTEGER[]' THEN '_oid' WHEN 'BLOB' THEN 'bytea' ELSE 'text' END;

-- The catalogue's functions. NewCatalog calls f of Postgres tw_f: the engine has
-- some of the same names that say something else.
CREATE MACRO tw_version() AS 'PostgreSQL 15.0 (Tailwater) on DuckDB, read-only';
CREATE MACRO tw_current_database() AS getvariable('tw_database')::VARCHAR;
CREATE MACRO tw_current_catalog() AS getvariable('tw_database')::VARCHAR;
CREATE MACRO tw_current_user() AS getvariable('tw_user')::VARCHAR;
CREATE MACRO tw_session_user() AS getvariable('tw_user')::VARCHAR;
CREATE MACRO tw_user() AS getvariable('tw_user')::VARCHAR;
CREATE MACRO tw_current_role() AS getvariable('tw_user')::VARCHAR;
CREATE MACRO tw_current_schema() AS 'public';
CREATE MACRO tw_current_schemas(implicit) AS CASE WHEN implicit THEN ['pg_catalog', 'public'] ELSE ['public'] END;
CREATE MACRO tw_pg_backend_pid() AS getvariable('tw_pid')::INTEGER;
CREATE MACRO tw_pg_is_in_recovery() AS true;
CREATE MACRO tw_pg_is_wal_replay_paused() AS false;
CREATE MACRO tw_pg_postmaster_start_time() AS getvariable('tw_begun')::TIMESTAMP;
CREATE MACRO tw_pg_conf_load_time() AS getvariable('tw_begun')::TIMESTAMP;
CREATE MACRO tw_inet_server_addr() AS NULL::VARCHAR;
CREATE MACRO tw_inet_server_port() AS NULL::INTEGER;
CREATE MACRO tw_inet_client_addr() AS NULL::VARCHAR;
CREATE MACRO tw_inet_client_port() AS NULL::INTEGER;
CREATE MACRO tw_txid_current() AS 1::BIGINT;
CREATE MACRO tw_txid_current_if_assigned() AS NULL::BIGINT;
CREATE MACRO tw_setting(n) AS map_extract_value(getvariable('tw_settings')::MAP(VARCHAR, VARCHAR), lower(n));
CREATE MACRO tw_current_setting(n) AS CASE WHEN n IS NULL OR tw_setting(n) IS NOT NULL THEN tw_setting(n) ELSE error('unrecognized configuration parameter "' || n || '"')::VARCHAR END, (n, missing_ok) AS tw_setting(n);
CREATE MACRO tw_set_config(n, v, is_local) AS v::VARCHAR;
CREATE MACRO tw_pg_encoding_to_char(e) AS CASE e WHEN 6 THEN 'UTF8' WHEN 0 THEN 'SQL_ASCII' ELSE '' END;
CREATE MACRO tw_pg_char_to_encoding(e) AS CASE upper(e) WHEN 'UTF8' THEN 6 ELSE -1 END;
CREATE MACRO tw_pg_client_encoding() AS 'UTF8';
CREATE MACRO tw_getdatabaseencoding() AS 'UTF8';
CREATE MACRO tw_quote_ident(n) AS CASE WHEN regexp_full_match(n, '[a-z_][a-z0-9_$]*') THEN n ELSE '"' || replace(n, '"', '""') || '"' END;
CREATE MACRO tw_quote_literal(v) AS '''' || replace(v::VARCHAR, '''', '''''') || '''';
CREATE MACRO tw_quote_nullable(v) AS coalesce('''' || replace(v::VARCHAR, '''', '''''') || '''', 'NULL');
CREATE MACRO tw_modified(n, m) AS CASE WHEN n = 'numeric' AND m > 0 THEN 'numeric(' || ((m - 4) >> 16) || ',' || ((m - 4) & 2047) || ')' ELSE n END;
CREATE MACRO tw_format_type(o, m) AS (SELECT CASE WHEN o IS NULL THEN NULL ELSE coalesce(max(tw_modified(k.sqlname, m)), CASE o WHEN 0 THEN '-' ELSE '???' END) END FROM tw.known_type k WHERE k.oid = o);
CREATE MACRO tw_pg_get_userbyid(o) AS CASE o WHEN 10 THEN 'tailwater' WHEN 16382 THEN getvariable('tw_user')::VARCHAR ELSE 'unknown (OID=' || o || ')' END;
CREATE MACRO tw_pg_get_expr(e, r) AS e::VARCHAR, (e, r, p) AS e::VARCHAR;
CREATE MACRO tw_pg_get_indexdef(i) AS NULL::VARCHAR, (i, c, p) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_constraintdef(c) AS NULL::VARCHAR, (c, p) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_triggerdef(t) AS NULL::VARCHAR, (t, p) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_ruledef(t) AS NULL::VARCHAR, (t, p) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_partkeydef(r) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_statisticsobjdef(r) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_statisticsobjdef_columns(r) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_functiondef(f) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_function_arguments(f) AS '';
CREATE MACRO tw_pg_get_function_identity_arguments(f) AS '';
CREATE MACRO tw_pg_get_function_result(f) AS 'text';
CREATE MACRO tw_pg_get_function_sqlbody(f) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_serial_sequence(t, c) AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_replica_identity_index(t) AS NULL::UINTEGER;
-- Names and numbers: what a cast to regclass, regtype and their like does. A text
-- becomes the number, a number the text.
CREATE MACRO tw_unquote(n) AS CASE WHEN n LIKE '"%"' THEN replace(n[2:-2], '""', '"') ELSE lower(n) END;
CREATE MACRO tw_by_name(n) AS (SELECT k.oid FROM tw.visible k WHERE (k.nspname || '.' || k.relname = array_to_string(list_transform(regexp_extract_all(n, '"(?:[^"]|"")*"|[^".]+'), lambda e: tw_unquote(e)), '.'))
	OR (k.relname = tw_unquote(n) AND k.nspname IN ('pg_catalog', 'public')) ORDER BY k.nspname LIMIT 1);
CREATE MACRO tw_to_oid(v) AS coalesce(try_cast(v AS UINTEGER), tw_by_name(v::VARCHAR));
CREATE MACRO tw_to_regclass(v) AS tw_to_oid(v);
CREATE MACRO tw_regclass_text(v) AS coalesce((SELECT max(CASE WHEN k.nspname IN ('pg_catalog', 'public') THEN '' ELSE tw_quote_ident(k.nspname) || '.' END || tw_quote_ident(k.relname)) FROM tw.visible k WHERE k.oid = try_cast(v AS UINTEGER)), CASE v::VARCHAR WHEN '0' THEN '-' ELSE v::VARCHAR END);
CREATE MACRO tw_type_by_name(n) AS (SELECT min(k.oid) FROM tw.known_type k WHERE k.sqlname = lower(replace(n, 'pg_catalog.', '')) OR k.typname = replace(lower(replace(n, 'pg_catalog.', '')), '"', '') OR k.typname = CASE lower(n) WHEN 'int' THEN 'int4' WHEN 'decimal' THEN 'numeric' WHEN 'varchar' THEN 'varchar' ELSE '' END);
CREATE MACRO tw_to_regtype(v) AS coalesce(try_cast(v AS UINTEGER), tw_type_by_name(v::VARCHAR));
CREATE MACRO tw_regtype_text(v) AS coalesce((SELECT max(k.sqlname) FROM tw.known_type k WHERE k.oid = try_cast(v AS UINTEGER)), CASE v::VARCHAR WHEN '0' THEN '-' ELSE v::VARCHAR END);
CREATE MACRO tw_to_regproc(v) AS (SELECT min(k.oid) FROM tw."pg_catalog.pg_proc" k WHERE k.proname = replace(v::VARCHAR, 'pg_catalog.', ''));
CREATE MACRO tw_to_regnamespace(v) AS coalesce(try_cast(v AS UINTEGER), (SELECT min(k.oid) FROM tw."pg_catalog.pg_namespace" k WHERE k.nspname = v::VARCHAR));
CREATE MACRO tw_regnamespace_text(v) AS coalesce((SELECT max(k.nspname) FROM tw."pg_catalog.pg_namespace" k WHERE k.oid = try_cast(v AS UINTEGER)), v::VARCHAR);
CREATE MACRO tw_regrole_text(v) AS tw_pg_get_userbyid(v);

-- What relations are, and who may read them.
CREATE MACRO tw_definition(o) AS (SELECT max(r.definition) FROM tw.relation r WHERE r.oid = o AND r.relkind = 'v' AND tw.seen(r.oid));
CREATE MACRO tw_pg_get_viewdef(v) AS tw_definition(tw_to_oid(v)), (v, p) AS tw_definition(tw_to_oid(v));
CREATE MACRO tw_is_visible(o) AS o::BIGINT < 16000 OR EXISTS (SELECT 1 FROM tw."pg_catalog.pg_class" k WHERE k.oid = o AND k.relnamespace IN (11, 2200));
CREATE MACRO tw_pg_table_is_visible(o) AS EXISTS (SELECT 1 FROM tw."pg_catalog.pg_class" k WHERE k.oid = o AND k.relnamespace IN (11, 2200));
CREATE MACRO tw_pg_type_is_visible(o) AS true;
CREATE MACRO tw_pg_function_is_visible(o) AS true;
CREATE MACRO tw_pg_operator_is_visible(o) AS true;
CREATE MACRO tw_pg_opclass_is_visible(o) AS true;
CREATE MACRO tw_pg_collation_is_visible(o) AS true;
CREATE MACRO tw_pg_conversion_is_visible(o) AS true;
CREATE MACRO tw_pg_ts_config_is_visible(o) AS true;
CREATE MACRO tw_pg_ts_dict_is_visible(o) AS true;
CREATE MACRO tw_pg_statistics_obj_is_visible(o) AS true;
CREATE MACRO tw_pg_opfamily_is_visible(o) AS true;
CREATE MACRO tw_pg_ts_parser_is_visible(o) AS true;
CREATE MACRO tw_pg_ts_template_is_visible(o) AS true;
CREATE MACRO tw_pg_relation_is_updatable(r, i) AS 0;
CREATE MACRO tw_pg_relation_is_publishable(r) AS false;
CREATE MACRO tw_obj_description(o) AS (SELECT max(k.description) FROM tw."pg_catalog.pg_description" k WHERE k.objoid = o AND k.objsubid = 0),
	(o, c) AS (SELECT max(k.description) FROM tw."pg_catalog.pg_description" k JOIN tw."pg_catalog.pg_class" t ON t.oid = k.classoid WHERE k.objoid = o AND k.objsubid = 0 AND t.relname = c);
CREATE MACRO tw_col_description(o, n) AS (SELECT max(k.description) FROM tw."pg_catalog.pg_description" k WHERE k.objoid = o AND k.objsubid = n AND n > 0);
CREATE MACRO tw_shobj_description(o, c) AS NULL::VARCHAR;
CREATE MACRO tw_granted(p) AS list_contains(['SELECT', 'USAGE', 'CONNECT', 'MEMBER', 'EXECUTE'], trim(upper(string_split(string_split(p, ',')[1], ' WITH ')[1])));
CREATE MACRO tw_has_table_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_any_column_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_column_privilege(t, c, p) AS tw_granted(p), (u, t, c, p) AS tw_granted(p);
CREATE MACRO tw_has_schema_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_database_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_function_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_language_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_sequence_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_has_server_privilege(t, p) AS false, (u, t, p) AS false;
CREATE MACRO tw_has_tablespace_privilege(t, p) AS false, (u, t, p) AS false;
CREATE MACRO tw_has_type_privilege(t, p) AS tw_granted(p), (u, t, p) AS tw_granted(p);
CREATE MACRO tw_pg_has_role(r, p) AS true, (u, r, p) AS true;
CREATE MACRO tw_row_security_active(t) AS false;
CREATE MACRO tw_pg_relation_size(r) AS 0::BIGINT, (r, f) AS 0::BIGINT;
CREATE MACRO tw_pg_table_size(r) AS 0::BIGINT;
CREATE MACRO tw_pg_indexes_size(r) AS 0::BIGINT;
CREATE MACRO tw_pg_total_relation_size(r) AS 0::BIGINT;
CREATE MACRO tw_pg_database_size(d) AS 0::BIGINT;
CREATE MACRO tw_pg_tablespace_size(d) AS 0::BIGINT;
CREATE MACRO tw_pg_tablespace_location(d) AS '';
CREATE MACRO tw_pg_size_pretty(n) AS n || ' bytes';
CREATE MACRO tw_pg_relation_filenode(r) AS 0::UINTEGER;
CREATE MACRO tw_pg_my_temp_schema() AS 0::UINTEGER;
CREATE MACRO tw_pg_is_other_temp_schema(o) AS false;
CREATE MACRO tw_pg_stat_get_numscans(o) AS 0::BIGINT;
CREATE MACRO tw_pg_listening_channels() AS NULL::VARCHAR;
CREATE MACRO tw_pg_get_partition_constraintdef(o) AS NULL::VARCHAR;
CREATE MACRO tw_pg_column_is_updatable(r, c, i) AS false;
CREATE MACRO tw_array_upper(a, d) AS CASE WHEN len(a) > 0 THEN len(a)::INTEGER END;
CREATE MACRO tw_array_lower(a, d) AS CASE WHEN len(a) > 0 THEN 1 END;
CREATE MACRO tw_array_length(a, d) AS CASE WHEN len(a) > 0 THEN len(a)::INTEGER END;
CREATE MACRO tw_array_to_string(a, s) AS array_to_string(a::VARCHAR[], s), (a, s, n) AS array_to_string(list_transform(a::VARCHAR[], lambda e: coalesce(e, n)), s);
CREATE MACRO tw_series(a, b) AS range(a, least(b, a + 10000) + 1), (a, b, step) AS range(a, least(b, a + 10000) + 1, greatest(step, 1));
CREATE MACRO tw_generate_series(a, b) AS unnest(tw_series(a, b)), (a, b, step) AS unnest(tw_series(a, b, step));
CREATE MACRO tw_array_remove(a, e) AS list_filter(a, lambda x: x IS DISTINCT FROM e);
CREATE MACRO tw_format(f, a) AS replace(replace(replace(f, '%I', tw_quote_ident(a::VARCHAR)), '%s', a::VARCHAR), '%L', tw_quote_literal(a)),
	(f, a, b) AS replace(replace(replace(replace(f, '%I.%I', tw_quote_ident(a::VARCHAR) || '.' || tw_quote_ident(b::VARCHAR)), '%s.%s', a::VARCHAR || '.' || b::VARCHAR), '%s %s', a::VARCHAR || ' ' || b::VARCHAR), '%s(%s)', a::VARCHAR || '(' || b::VARCHAR || ')');
CREATE MACRO tw_parse_ident(n) AS regexp_extract_all(n, '"(?:[^"]|"")*"|[^".]+');
CREATE MACRO tw_age(x) AS 0;
CREATE MACRO tw_cardinality(a) AS len(a)::INTEGER;
CREATE MACRO tw_array_position(a, e) AS nullif(list_position(a, e), 0);
CREATE MACRO tw__pg_expandarray(a) AS unnest(list_transform(range(1, len(a) + 1), lambda i: {'x': a[i], 'n': i::INTEGER}));
CREATE MACRO tw__pg_truetypid(a, t) AS a.atttypid;
CREATE MACRO tw__pg_truetypmod(a, t) AS a.atttypmod;
CREATE MACRO tw__pg_char_max_length(t, m) AS NULL::INTEGER;
CREATE MACRO tw__pg_numeric_precision(t, m) AS CASE t WHEN 21 THEN 16 WHEN 23 THEN 32 WHEN 20 THEN 64 WHEN 700 THEN 24 WHEN 701 THEN 53 WHEN 1700 THEN CASE WHEN m > 0 THEN (m - 4) >> 16 END END::INTEGER;
CREATE MACRO tw__pg_numeric_scale(t, m) AS CASE WHEN t IN (20, 21, 23) THEN 0 WHEN t = 1700 AND m > 0 THEN (m - 4) & 2047 END::INTEGER;
CREATE MACRO tw__pg_datetime_precision(t, m) AS CASE WHEN t IN (1114, 1184) THEN 6 WHEN t = 1082 THEN 0 END::INTEGER;
CREATE MACRO tw_to_char(v, f) AS v::VARCHAR;
CREATE MACRO tw_aclexplode(a) AS unnest(NULL::STRUCT(grantor UINTEGER, grantee UINTEGER, privilege_type VARCHAR, is_grantable BOOLEAN)[]);
