-- What Postgres 15 says of itself, as far as clients ask, without data. Tables of
-- the schema tw have the whole name of the one that they stand for. NewCatalog puts
-- the namespace into tw.relation and tw.attribute first.

-- Types: oid, name, length, category, element, array, its SQL name.
CREATE TABLE tw.known_type (oid UINTEGER, typname VARCHAR, typlen SMALLINT, typcategory VARCHAR, typtype VARCHAR, typelem UINTEGER, typarray UINTEGER, sqlname VARCHAR);
INSERT INTO tw.known_type VALUES
	(16, 'bool', 1, 'B', 'b', 0, 1000, 'boolean'), (17, 'bytea', -1, 'U', 'b', 0, 1001, 'bytea'), (18, 'char', 1, 'Z', 'b', 0, 1002, '"char"'),
	(19, 'name', 64, 'S', 'b', 18, 1003, 'name'), (20, 'int8', 8, 'N', 'b', 0, 1016, 'bigint'), (21, 'int2', 2, 'N', 'b', 0, 1005, 'smallint'),
	(22, 'int2vector', -1, 'A', 'b', 21, 1006, 'int2vector'), (23, 'int4', 4, 'N', 'b', 0, 1007, 'integer'), (24, 'regproc', 4, 'N', 'b', 0, 1008, 'regproc'),
	(25, 'text', -1, 'S', 'b', 0, 1009, 'text'), (26, 'oid', 4, 'N', 'b', 0, 1028, 'oid'), (27, 'tid', 6, 'U', 'b', 0, 1010, 'tid'),
	(28, 'xid', 4, 'U', 'b', 0, 1011, 'xid'), (30, 'oidvector', -1, 'A', 'b', 26, 1013, 'oidvector'), (114, 'json', -1, 'U', 'b', 0, 199, 'json'),
	(700, 'float4', 4, 'N', 'b', 0, 1021, 'real'), (701, 'float8', 8, 'N', 'b', 0, 1022, 'double precision'), (705, 'unknown', -2, 'X', 'p', 0, 0, 'unknown'),
	(1042, 'bpchar', -1, 'S', 'b', 0, 1014, 'character'), (1043, 'varchar', -1, 'S', 'b', 0, 1015, 'character varying'), (1082, 'date', 4, 'D', 'b', 0, 1182, 'date'),
	(1083, 'time', 8, 'D', 'b', 0, 1183, 'time without time zone'), (1114, 'timestamp', 8, 'D', 'b', 0, 1115, 'timestamp without time zone'),
	(1184, 'timestamptz', 8, 'D', 'b', 0, 1185, 'timestamp with time zone'), (1186, 'interval', 16, 'T', 'b', 0, 1187, 'interval'),
	(1266, 'timetz', 12, 'D', 'b', 0, 1270, 'time with time zone'), (1560, 'bit', -1, 'V', 'b', 0, 1561, 'bit'), (1562, 'varbit', -1, 'V', 'b', 0, 1563, 'bit varying'),
	(1700, 'numeric', -1, 'N', 'b', 0, 1231, 'numeric'), (2205, 'regclass', 4, 'N', 'b', 0, 2210, 'regclass'), (2206, 'regtype', 4, 'N', 'b', 0, 2211, 'regtype'),
	(2249, 'record', -1, 'P', 'p', 0, 2287, 'record'), (2278, 'void', 4, 'P', 'p', 0, 0, 'void'), (2950, 'uuid', 16, 'U', 'b', 0, 2951, 'uuid'),
	(3802, 'jsonb', -1, 'U', 'b', 0, 3807, 'jsonb'), (4089, 'regnamespace', 4, 'N', 'b', 0, 4090, 'regnamespace');
INSERT INTO tw.known_type
	SELECT typarray, '_' || typname, -1, 'A', 'b', oid, 0, sqlname || '[]' FROM tw.known_type WHERE typarray > 0;

CREATE TABLE tw."pg_catalog.pg_namespace" AS SELECT * FROM (VALUES
	(11::UINTEGER, 'pg_catalog', 10::UINTEGER, NULL::VARCHAR[]), (13000, 'information_schema', 10, NULL), (2200, 'public', 10, NULL), (16384, 'tailwater', 10, NULL)) n(oid, nspname, nspowner, nspacl);

CREATE TABLE tw."pg_catalog.pg_proc" (oid UINTEGER, proname VARCHAR, pronamespace UINTEGER, proowner UINTEGER, prolang UINTEGER, procost FLOAT, prorows FLOAT, provariadic UINTEGER, prosupport VARCHAR, prokind VARCHAR, prosecdef BOOLEAN, proleakproof BOOLEAN, proisstrict BOOLEAN, proretset BOOLEAN, provolatile VARCHAR, proparallel VARCHAR, pronargs SMALLINT, pronargdefaults SMALLINT, prorettype UINTEGER, proargtypes UINTEGER[], proallargtypes UINTEGER[], proargmodes VARCHAR[], proargnames VARCHAR[], proargdefaults VARCHAR, protrftypes UINTEGER[], prosrc VARCHAR, probin VARCHAR, prosqlbody VARCHAR, proconfig VARCHAR[], proacl VARCHAR[]);
INSERT INTO tw."pg_catalog.pg_proc" BY NAME SELECT (1000 + row_number() OVER ())::UINTEGER AS oid, p.n AS proname, 11::UINTEGER AS pronamespace, 10::UINTEGER AS proowner, 12::UINTEGER AS prolang, 'f' AS prokind, false AS prosecdef, false AS proleakproof, true AS proisstrict, false AS proretset, 's' AS provolatile, 's' AS proparallel, 0::SMALLINT AS pronargs, 0::SMALLINT AS pronargdefaults, 25::UINTEGER AS prorettype, []::UINTEGER[] AS proargtypes, p.n AS prosrc
	FROM (SELECT typname || s AS n FROM tw.known_type, (VALUES ('in'), ('out'), ('recv'), ('send')) f(s) WHERE NOT starts_with(typname, '_')
		UNION ALL SELECT unnest(['array_in', 'array_out', 'array_recv', 'array_send', 'version', 'current_database', 'current_schema', 'format_type', 'pg_get_expr', 'pg_get_userbyid', 'pg_table_is_visible', 'obj_description', 'col_description', 'now'])) p;
CREATE MACRO tw.io(n, elem, suffix) AS (SELECT min(p.oid) FROM tw."pg_catalog.pg_proc" p WHERE p.proname = CASE WHEN elem THEN 'array_' ELSE n END || suffix);
CREATE TABLE tw."pg_catalog.pg_type" AS SELECT oid, typname, 11::UINTEGER AS typnamespace, 10::UINTEGER AS typowner, typlen, typlen BETWEEN 1 AND 8 AS typbyval, typtype, typcategory,
	typname IN ('bool', 'text', 'float8', 'timestamptz', 'interval') AS typispreferred, true AS typisdefined, ',' AS typdelim, 0::UINTEGER AS typrelid, 0::UINTEGER AS typsubscript,
	typelem, typarray, tw.io(typname, starts_with(typname, '_'), 'in') AS typinput, tw.io(typname, starts_with(typname, '_'), 'out') AS typoutput,
	tw.io(typname, starts_with(typname, '_'), 'recv') AS typreceive, tw.io(typname, starts_with(typname, '_'), 'send') AS typsend, 0::UINTEGER AS typmodin, 0::UINTEGER AS typmodout, 0::UINTEGER AS typanalyze, 'i' AS typalign, 'p' AS typstorage,
	false AS typnotnull, 0::UINTEGER AS typbasetype, -1 AS typtypmod, 0 AS typndims, CASE WHEN typcategory = 'S' THEN 100 ELSE 0 END::UINTEGER AS typcollation,
	NULL::VARCHAR AS typdefaultbin, NULL::VARCHAR AS typdefault, NULL::VARCHAR[] AS typacl
	FROM tw.known_type;

-- Relations: those of the project, and the catalogue's own.
CREATE TABLE tw.every_pg_class AS SELECT oid::UINTEGER AS oid, relname, relnamespace::UINTEGER AS relnamespace, 0::UINTEGER AS reltype, 0::UINTEGER AS reloftype, 10::UINTEGER AS relowner,
	CASE relkind WHEN 'r' THEN 2 ELSE 0 END::UINTEGER AS relam, oid::UINTEGER AS relfilenode, 0::UINTEGER AS reltablespace, 0 AS relpages, -1::FLOAT AS reltuples, 0 AS relallvisible, 0::UINTEGER AS reltoastrelid,
	false AS relhasindex, false AS relisshared, 'p' AS relpersistence, relkind, relnatts::SMALLINT AS relnatts, 0::SMALLINT AS relchecks, relkind = 'v' AS relhasrules, false AS relhastriggers, false AS relhassubclass,
	false AS relrowsecurity, false AS relforcerowsecurity, true AS relispopulated, 'n' AS relreplident, false AS relispartition, 0::UINTEGER AS relrewrite, 0::UINTEGER AS relfrozenxid, 0::UINTEGER AS relminmxid,
	NULL::VARCHAR[] AS relacl, NULL::VARCHAR[] AS reloptions, NULL::VARCHAR AS relpartbound
	FROM tw.relation;

CREATE TABLE tw.every_pg_attribute AS SELECT relid::UINTEGER AS attrelid, attname, typid::UINTEGER AS atttypid, -1 AS attstattarget, t.typlen AS attlen, attnum::SMALLINT AS attnum, 0 AS attndims, -1 AS attcacheoff, typmod AS atttypmod,
	t.typlen BETWEEN 1 AND 8 AS attbyval, 'i' AS attalign, 'p' AS attstorage, '' AS attcompression, attnotnull, false AS atthasdef, false AS atthasmissing, '' AS attidentity, '' AS attgenerated, false AS attisdropped, true AS attislocal,
	0 AS attinhcount, CASE WHEN t.typcategory = 'S' THEN 100 ELSE 0 END::UINTEGER AS attcollation, NULL::VARCHAR[] AS attacl, NULL::VARCHAR[] AS attoptions, NULL::VARCHAR[] AS attfdwoptions, NULL::VARCHAR AS attmissingval
	FROM tw.attribute a JOIN tw.known_type t ON t.oid = a.typid;

CREATE TABLE tw.every_pg_description AS
	SELECT oid::UINTEGER AS objoid, 1259::UINTEGER AS classoid, 0 AS objsubid, comment AS description FROM tw.relation WHERE comment <> ''
	UNION ALL SELECT relid, 1259, attnum, comment FROM tw.attribute WHERE comment <> ''
	UNION ALL SELECT 2200, 2615, 0, 'streams, their dead letters, and views';

-- A session sees what whoever asks may know of.
CREATE MACRO tw.seen(o) AS NOT list_contains(coalesce(getvariable('tw_hidden')::UINTEGER[], []), o);
CREATE VIEW tw."pg_catalog.pg_class" AS FROM tw.every_pg_class WHERE tw.seen(oid);
CREATE VIEW tw."pg_catalog.pg_attribute" AS FROM tw.every_pg_attribute WHERE tw.seen(attrelid);
CREATE VIEW tw."pg_catalog.pg_description" AS FROM tw.every_pg_description WHERE tw.seen(objoid);

CREATE VIEW tw."pg_catalog.pg_database" AS SELECT 16383::UINTEGER AS oid, getvariable('tw_database')::VARCHAR AS datname, 10::UINTEGER AS datdba, 6 AS encoding, 'c' AS datlocprovider, false AS datistemplate, true AS datallowconn, -1 AS datconnlimit,
	0::UINTEGER AS datfrozenxid, 0::UINTEGER AS datminmxid, 1663::UINTEGER AS dattablespace, 'C' AS datcollate, 'C' AS datctype, NULL::VARCHAR AS daticulocale, NULL::VARCHAR AS datcollversion, NULL::VARCHAR[] AS datacl, 12000::UINTEGER AS datlastsysoid;
CREATE VIEW tw."pg_catalog.pg_roles" AS SELECT getvariable('tw_user')::VARCHAR AS rolname, false AS rolsuper, true AS rolinherit, false AS rolcreaterole, false AS rolcreatedb, true AS rolcanlogin, false AS rolreplication, -1 AS rolconnlimit,
	'********' AS rolpassword, NULL::TIMESTAMP AS rolvaliduntil, false AS rolbypassrls, NULL::VARCHAR[] AS rolconfig, 16382::UINTEGER AS oid
	UNION ALL SELECT 'tailwater', true, true, true, true, false, true, -1, '********', NULL, true, NULL, 10;
CREATE VIEW tw."pg_catalog.pg_authid" AS SELECT oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, NULL::VARCHAR AS rolpassword, rolvaliduntil FROM tw."pg_catalog.pg_roles";
CREATE VIEW tw."pg_catalog.pg_user" AS SELECT rolname AS usename, oid AS usesysid, rolcreatedb AS usecreatedb, rolsuper AS usesuper, rolreplication AS userepl, rolbypassrls AS usebypassrls, rolpassword AS passwd, rolvaliduntil AS valuntil, rolconfig AS useconfig FROM tw."pg_catalog.pg_roles";
CREATE VIEW tw."pg_catalog.pg_shadow" AS FROM tw."pg_catalog.pg_user";
CREATE VIEW tw."pg_catalog.pg_settings" AS SELECT unnest(map_keys(m)) AS name, unnest(map_values(m)) AS setting, NULL::VARCHAR AS unit, 'Tailwater' AS category, '' AS short_desc, NULL::VARCHAR AS extra_desc, 'user' AS context, 'string' AS vartype, 'session' AS source,
	NULL::VARCHAR AS min_val, NULL::VARCHAR AS max_val, NULL::VARCHAR[] AS enumvals, unnest(map_values(m)) AS boot_val, unnest(map_values(m)) AS reset_val, NULL::VARCHAR AS sourcefile, NULL::INTEGER AS sourceline, false AS pending_restart
	FROM (SELECT getvariable('tw_settings')::MAP(VARCHAR, VARCHAR) AS m);
CREATE VIEW tw."pg_catalog.pg_stat_activity" AS SELECT 16383::UINTEGER AS datid, getvariable('tw_database')::VARCHAR AS datname, getvariable('tw_pid')::INTEGER AS pid, NULL::INTEGER AS leader_pid, 16382::UINTEGER AS usesysid, getvariable('tw_user')::VARCHAR AS usename,
	map_extract_value(getvariable('tw_settings')::MAP(VARCHAR, VARCHAR), 'application_name') AS application_name, NULL::VARCHAR AS client_addr, NULL::VARCHAR AS client_hostname, NULL::INTEGER AS client_port, getvariable('tw_started')::TIMESTAMP AS backend_start, now()::TIMESTAMP AS xact_start, now()::TIMESTAMP AS query_start,
	now()::TIMESTAMP AS state_change, NULL::VARCHAR AS wait_event_type, NULL::VARCHAR AS wait_event, 'active' AS state, NULL::UINTEGER AS backend_xid, NULL::UINTEGER AS backend_xmin, NULL::BIGINT AS query_id, '' AS query, 'client backend' AS backend_type;
CREATE VIEW tw."pg_catalog.pg_stat_ssl" AS SELECT getvariable('tw_pid')::INTEGER AS pid, getvariable('tw_ssl')::BOOLEAN AS ssl, NULL::VARCHAR AS version, NULL::VARCHAR AS cipher, NULL::INTEGER AS bits, NULL::VARCHAR AS client_dn, NULL::BIGINT AS client_serial, NULL::VARCHAR AS issuer_dn;

CREATE TABLE tw."pg_catalog.pg_am" AS SELECT * FROM (VALUES (2::UINTEGER, 'heap', 'heap_tableam_handler', 't'), (403, 'btree', 'bthandler', 'i')) a(oid, amname, amhandler, amtype);
CREATE TABLE tw."pg_catalog.pg_collation" AS SELECT 100::UINTEGER AS oid, 'default' AS collname, 11::UINTEGER AS collnamespace, 10::UINTEGER AS collowner, 'd' AS collprovider, true AS collisdeterministic, -1 AS collencoding, 'C' AS collcollate, 'C' AS collctype, NULL::VARCHAR AS colliculocale, NULL::VARCHAR AS collversion
	UNION ALL SELECT 950, 'C', 11, 10, 'c', true, -1, 'C', 'C', NULL, NULL;
CREATE TABLE tw."pg_catalog.pg_tablespace" AS SELECT * FROM (VALUES (1663::UINTEGER, 'pg_default', 10::UINTEGER, NULL::VARCHAR[], NULL::VARCHAR[])) t(oid, spcname, spcowner, spcacl, spcoptions);
CREATE TABLE tw."pg_catalog.pg_language" AS SELECT * FROM (VALUES (12::UINTEGER, 'internal', 10::UINTEGER, false, false, 0::UINTEGER, 0::UINTEGER, 0::UINTEGER, NULL::VARCHAR[]), (14, 'sql', 10, false, true, 0, 0, 0, NULL)) l(oid, lanname, lanowner, lanispl, lanpltrusted, lanplcallfoid, laninline, lanvalidator, lanacl);
CREATE TABLE tw."pg_catalog.pg_timezone_names" AS SELECT 'UTC' AS name, 'UTC' AS abbrev, '00:00:00' AS utc_offset, false AS is_dst;

CREATE TABLE tw."pg_catalog.pg_timezone_abbrevs" AS SELECT 'UTC' AS abbrev, '00:00:00' AS utc_offset, false AS is_dst;

CREATE VIEW tw.visible AS SELECT c.oid, n.nspname, c.relname, c.relkind, c.relnamespace FROM tw."pg_catalog.pg_class" c JOIN tw."pg_catalog.pg_namespace" n ON n.oid = c.relnamespace;
CREATE VIEW tw."pg_catalog.pg_tables" AS SELECT nspname AS schemaname, relname AS tablename, 'tailwater' AS tableowner, NULL::VARCHAR AS tablespace, false AS hasindexes, false AS hasrules, false AS hastriggers, false AS rowsecurity FROM tw.visible WHERE relkind = 'r';
CREATE VIEW tw."pg_catalog.pg_views" AS SELECT r.schema AS schemaname, r.relname AS viewname, 'tailwater' AS viewowner, r.definition FROM tw.relation r WHERE r.relkind = 'v' AND tw.seen(r.oid);
CREATE VIEW tw."pg_catalog.pg_stat_user_tables" AS SELECT oid AS relid, nspname AS schemaname, relname, 0::BIGINT AS seq_scan, 0::BIGINT AS seq_tup_read, NULL::BIGINT AS idx_scan, NULL::BIGINT AS idx_tup_fetch, 0::BIGINT AS n_tup_ins, 0::BIGINT AS n_tup_upd, 0::BIGINT AS n_tup_del, 0::BIGINT AS n_tup_hot_upd,
	0::BIGINT AS n_live_tup, 0::BIGINT AS n_dead_tup, 0::BIGINT AS n_mod_since_analyze, NULL::TIMESTAMP AS last_vacuum, NULL::TIMESTAMP AS last_autovacuum, NULL::TIMESTAMP AS last_analyze, NULL::TIMESTAMP AS last_autoanalyze, 0::BIGINT AS vacuum_count, 0::BIGINT AS autovacuum_count, 0::BIGINT AS analyze_count, 0::BIGINT AS autoanalyze_count
	FROM tw.visible WHERE relkind = 'r' AND relnamespace IN (2200, 16384);
CREATE VIEW tw."pg_catalog.pg_stat_all_tables" AS FROM tw."pg_catalog.pg_stat_user_tables";
CREATE VIEW tw."pg_catalog.pg_statio_user_tables" AS SELECT relid, schemaname, relname, 0::BIGINT AS heap_blks_read, 0::BIGINT AS heap_blks_hit, 0::BIGINT AS idx_blks_read, 0::BIGINT AS idx_blks_hit FROM tw."pg_catalog.pg_stat_user_tables";
CREATE VIEW tw."pg_catalog.pg_stat_database" AS SELECT 16383::UINTEGER AS datid, getvariable('tw_database')::VARCHAR AS datname, 1 AS numbackends, 0::BIGINT AS xact_commit, 0::BIGINT AS xact_rollback, 0::BIGINT AS blks_read, 0::BIGINT AS blks_hit, 0::BIGINT AS tup_returned, 0::BIGINT AS tup_fetched, 0::BIGINT AS tup_inserted, 0::BIGINT AS tup_updated, 0::BIGINT AS tup_deleted, 0::BIGINT AS conflicts, 0::BIGINT AS temp_files, 0::BIGINT AS temp_bytes, 0::BIGINT AS deadlocks;

-- What there is none of: the columns that clients name, and no rows.
CREATE TABLE tw."pg_catalog.pg_index" (indexrelid UINTEGER, indrelid UINTEGER, indnatts SMALLINT, indnkeyatts SMALLINT, indisunique BOOLEAN, indnullsnotdistinct BOOLEAN, indisprimary BOOLEAN, indisexclusion BOOLEAN, indimmediate BOOLEAN, indisclustered BOOLEAN, indisvalid BOOLEAN, indcheckxmin BOOLEAN, indisready BOOLEAN, indislive BOOLEAN, indisreplident BOOLEAN, indkey SMALLINT[], indcollation UINTEGER[], indclass UINTEGER[], indoption SMALLINT[], indexprs VARCHAR, indpred VARCHAR);
CREATE TABLE tw."pg_catalog.pg_indexes" (schemaname VARCHAR, tablename VARCHAR, indexname VARCHAR, tablespace VARCHAR, indexdef VARCHAR);
CREATE TABLE tw."pg_catalog.pg_constraint" (oid UINTEGER, conname VARCHAR, connamespace UINTEGER, contype VARCHAR, condeferrable BOOLEAN, condeferred BOOLEAN, convalidated BOOLEAN, conrelid UINTEGER, contypid UINTEGER, conindid UINTEGER, conparentid UINTEGER, confrelid UINTEGER, confupdtype VARCHAR, confdeltype VARCHAR, confmatchtype VARCHAR, conislocal BOOLEAN, coninhcount INTEGER, connoinherit BOOLEAN, conkey SMALLINT[], confkey SMALLINT[], conpfeqop UINTEGER[], conppeqop UINTEGER[], conffeqop UINTEGER[], confdelsetcols SMALLINT[], conexclop UINTEGER[], conbin VARCHAR);
CREATE TABLE tw."pg_catalog.pg_attrdef" (oid UINTEGER, adrelid UINTEGER, adnum SMALLINT, adbin VARCHAR);
CREATE TABLE tw."pg_catalog.pg_matviews" (schemaname VARCHAR, matviewname VARCHAR, matviewowner VARCHAR, tablespace VARCHAR, hasindexes BOOLEAN, ispopulated BOOLEAN, definition VARCHAR);
CREATE TABLE tw."pg_catalog.pg_inherits" (inhrelid UINTEGER, inhparent UINTEGER, inhseqno INTEGER, inhdetachpending BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_partitioned_table" (partrelid UINTEGER, partstrat VARCHAR, partnatts SMALLINT, partdefid UINTEGER, partattrs SMALLINT[], partclass UINTEGER[], partcollation UINTEGER[], partexprs VARCHAR);
CREATE TABLE tw."pg_catalog.pg_aggregate" (aggfnoid UINTEGER, aggkind VARCHAR, aggnumdirectargs SMALLINT, aggtransfn VARCHAR, aggfinalfn VARCHAR, aggsortop UINTEGER, aggtranstype UINTEGER, aggtransspace INTEGER, agginitval VARCHAR);
CREATE TABLE tw."pg_catalog.pg_operator" (oid UINTEGER, oprname VARCHAR, oprnamespace UINTEGER, oprowner UINTEGER, oprkind VARCHAR, oprcanmerge BOOLEAN, oprcanhash BOOLEAN, oprleft UINTEGER, oprright UINTEGER, oprresult UINTEGER, oprcom UINTEGER, oprnegate UINTEGER, oprcode VARCHAR, oprrest VARCHAR, oprjoin VARCHAR);
CREATE TABLE tw."pg_catalog.pg_opclass" (oid UINTEGER, opcmethod UINTEGER, opcname VARCHAR, opcnamespace UINTEGER, opcowner UINTEGER, opcfamily UINTEGER, opcintype UINTEGER, opcdefault BOOLEAN, opckeytype UINTEGER);
CREATE TABLE tw."pg_catalog.pg_cast" (oid UINTEGER, castsource UINTEGER, casttarget UINTEGER, castfunc UINTEGER, castcontext VARCHAR, castmethod VARCHAR);
CREATE TABLE tw."pg_catalog.pg_conversion" (oid UINTEGER, conname VARCHAR, connamespace UINTEGER, conowner UINTEGER, conforencoding INTEGER, contoencoding INTEGER, conproc VARCHAR, condefault BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_extension" (oid UINTEGER, extname VARCHAR, extowner UINTEGER, extnamespace UINTEGER, extrelocatable BOOLEAN, extversion VARCHAR, extconfig UINTEGER[], extcondition VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_available_extensions" (name VARCHAR, default_version VARCHAR, installed_version VARCHAR, comment VARCHAR);
CREATE TABLE tw."pg_catalog.pg_trigger" (oid UINTEGER, tgrelid UINTEGER, tgparentid UINTEGER, tgname VARCHAR, tgfoid UINTEGER, tgtype SMALLINT, tgenabled VARCHAR, tgisinternal BOOLEAN, tgconstrrelid UINTEGER, tgconstrindid UINTEGER, tgconstraint UINTEGER, tgdeferrable BOOLEAN, tginitdeferred BOOLEAN, tgnargs SMALLINT, tgattr SMALLINT[], tgargs BLOB, tgqual VARCHAR, tgoldtable VARCHAR, tgnewtable VARCHAR);
CREATE TABLE tw."pg_catalog.pg_event_trigger" (oid UINTEGER, evtname VARCHAR, evtevent VARCHAR, evtowner UINTEGER, evtfoid UINTEGER, evtenabled VARCHAR, evttags VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_rewrite" (oid UINTEGER, rulename VARCHAR, ev_class UINTEGER, ev_type VARCHAR, ev_enabled VARCHAR, is_instead BOOLEAN, ev_qual VARCHAR, ev_action VARCHAR);
CREATE TABLE tw."pg_catalog.pg_rules" (schemaname VARCHAR, tablename VARCHAR, rulename VARCHAR, definition VARCHAR);
CREATE TABLE tw."pg_catalog.pg_policy" (oid UINTEGER, polname VARCHAR, polrelid UINTEGER, polcmd VARCHAR, polpermissive BOOLEAN, polroles UINTEGER[], polqual VARCHAR, polwithcheck VARCHAR);
CREATE TABLE tw."pg_catalog.pg_policies" (schemaname VARCHAR, tablename VARCHAR, policyname VARCHAR, permissive VARCHAR, roles VARCHAR[], cmd VARCHAR, qual VARCHAR, with_check VARCHAR);
CREATE TABLE tw."pg_catalog.pg_range" (rngtypid UINTEGER, rngsubtype UINTEGER, rngmultitypid UINTEGER, rngcollation UINTEGER, rngsubopc UINTEGER, rngcanonical VARCHAR, rngsubdiff VARCHAR);
CREATE TABLE tw."pg_catalog.pg_enum" (oid UINTEGER, enumtypid UINTEGER, enumsortorder FLOAT, enumlabel VARCHAR);
CREATE TABLE tw."pg_catalog.pg_sequence" (seqrelid UINTEGER, seqtypid UINTEGER, seqstart BIGINT, seqincrement BIGINT, seqmax BIGINT, seqmin BIGINT, seqcache BIGINT, seqcycle BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_sequences" (schemaname VARCHAR, sequencename VARCHAR, sequenceowner VARCHAR, data_type VARCHAR, start_value BIGINT, min_value BIGINT, max_value BIGINT, increment_by BIGINT, cycle BOOLEAN, cache_size BIGINT, last_value BIGINT);
CREATE TABLE tw."pg_catalog.pg_depend" (classid UINTEGER, objid UINTEGER, objsubid INTEGER, refclassid UINTEGER, refobjid UINTEGER, refobjsubid INTEGER, deptype VARCHAR);
CREATE TABLE tw."pg_catalog.pg_shdepend" (dbid UINTEGER, classid UINTEGER, objid UINTEGER, objsubid INTEGER, refclassid UINTEGER, refobjid UINTEGER, deptype VARCHAR);
CREATE TABLE tw."pg_catalog.pg_shdescription" (objoid UINTEGER, classoid UINTEGER, description VARCHAR);
CREATE TABLE tw."pg_catalog.pg_seclabel" (objoid UINTEGER, classoid UINTEGER, objsubid INTEGER, provider VARCHAR, label VARCHAR);
CREATE TABLE tw."pg_catalog.pg_auth_members" (roleid UINTEGER, member UINTEGER, grantor UINTEGER, admin_option BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_db_role_setting" (setdatabase UINTEGER, setrole UINTEGER, setconfig VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_default_acl" (oid UINTEGER, defaclrole UINTEGER, defaclnamespace UINTEGER, defaclobjtype VARCHAR, defaclacl VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_foreign_table" (ftrelid UINTEGER, ftserver UINTEGER, ftoptions VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_foreign_server" (oid UINTEGER, srvname VARCHAR, srvowner UINTEGER, srvfdw UINTEGER, srvtype VARCHAR, srvversion VARCHAR, srvacl VARCHAR[], srvoptions VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_foreign_data_wrapper" (oid UINTEGER, fdwname VARCHAR, fdwowner UINTEGER, fdwhandler UINTEGER, fdwvalidator UINTEGER, fdwacl VARCHAR[], fdwoptions VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_user_mappings" (umid UINTEGER, srvid UINTEGER, srvname VARCHAR, umuser UINTEGER, usename VARCHAR, umoptions VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_publication" (oid UINTEGER, pubname VARCHAR, pubowner UINTEGER, puballtables BOOLEAN, pubinsert BOOLEAN, pubupdate BOOLEAN, pubdelete BOOLEAN, pubtruncate BOOLEAN, pubviaroot BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_publication_rel" (oid UINTEGER, prpubid UINTEGER, prrelid UINTEGER, prqual VARCHAR, prattrs SMALLINT[]);
CREATE TABLE tw."pg_catalog.pg_publication_namespace" (oid UINTEGER, pnpubid UINTEGER, pnnspid UINTEGER);
CREATE TABLE tw."pg_catalog.pg_publication_tables" (pubname VARCHAR, schemaname VARCHAR, tablename VARCHAR);
CREATE TABLE tw."pg_catalog.pg_subscription" (oid UINTEGER, subdbid UINTEGER, subskiplsn VARCHAR, subname VARCHAR, subowner UINTEGER, subenabled BOOLEAN, subbinary BOOLEAN, substream BOOLEAN, subtwophasestate VARCHAR, subdisableonerr BOOLEAN, subconninfo VARCHAR, subslotname VARCHAR, subsynccommit VARCHAR, subpublications VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_opfamily" (oid UINTEGER, opfmethod UINTEGER, opfname VARCHAR, opfnamespace UINTEGER, opfowner UINTEGER);
CREATE TABLE tw."pg_catalog.pg_amop" (oid UINTEGER, amopfamily UINTEGER, amoplefttype UINTEGER, amoprighttype UINTEGER, amopstrategy SMALLINT, amoppurpose VARCHAR, amopopr UINTEGER, amopmethod UINTEGER, amopsortfamily UINTEGER);
CREATE TABLE tw."pg_catalog.pg_amproc" (oid UINTEGER, amprocfamily UINTEGER, amproclefttype UINTEGER, amprocrighttype UINTEGER, amprocnum SMALLINT, amproc UINTEGER);
CREATE TABLE tw."pg_catalog.pg_ts_parser" (oid UINTEGER, prsname VARCHAR, prsnamespace UINTEGER, prsstart UINTEGER, prstoken UINTEGER, prsend UINTEGER, prsheadline UINTEGER, prslextype UINTEGER);
CREATE TABLE tw."pg_catalog.pg_ts_template" (oid UINTEGER, tmplname VARCHAR, tmplnamespace UINTEGER, tmplinit UINTEGER, tmpllexize UINTEGER);
CREATE TABLE tw."pg_catalog.pg_transform" (oid UINTEGER, trftype UINTEGER, trflang UINTEGER, trffromsql UINTEGER, trftosql UINTEGER);
CREATE TABLE tw."pg_catalog.pg_user_mapping" (oid UINTEGER, umuser UINTEGER, umserver UINTEGER, umoptions VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_init_privs" (objoid UINTEGER, classoid UINTEGER, objsubid INTEGER, privtype VARCHAR, initprivs VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_replication_slots" (slot_name VARCHAR, plugin VARCHAR, slot_type VARCHAR, datoid UINTEGER, database VARCHAR, active BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_stat_replication" (pid INTEGER, usename VARCHAR, application_name VARCHAR, state VARCHAR, sync_state VARCHAR);
CREATE TABLE tw."pg_catalog.pg_statistic_ext" (oid UINTEGER, stxrelid UINTEGER, stxname VARCHAR, stxnamespace UINTEGER, stxowner UINTEGER, stxstattarget INTEGER, stxkeys SMALLINT[], stxkind VARCHAR[], stxexprs VARCHAR);
CREATE TABLE tw."pg_catalog.pg_stats" (schemaname VARCHAR, tablename VARCHAR, attname VARCHAR, inherited BOOLEAN, null_frac FLOAT, avg_width INTEGER, n_distinct FLOAT, most_common_vals VARCHAR, most_common_freqs VARCHAR, histogram_bounds VARCHAR, correlation FLOAT);
CREATE TABLE tw."pg_catalog.pg_stat_user_indexes" (relid UINTEGER, indexrelid UINTEGER, schemaname VARCHAR, relname VARCHAR, indexrelname VARCHAR, idx_scan BIGINT, idx_tup_read BIGINT, idx_tup_fetch BIGINT);
CREATE TABLE tw."pg_catalog.pg_locks" (locktype VARCHAR, database UINTEGER, relation UINTEGER, pid INTEGER, mode VARCHAR, granted BOOLEAN, virtualtransaction VARCHAR, transactionid UINTEGER);
CREATE TABLE tw."pg_catalog.pg_prepared_xacts" (transaction UINTEGER, gid VARCHAR, prepared TIMESTAMP, owner VARCHAR, database VARCHAR);
CREATE TABLE tw."pg_catalog.pg_prepared_statements" (name VARCHAR, statement VARCHAR, prepare_time TIMESTAMP, parameter_types VARCHAR[], from_sql BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_cursors" (name VARCHAR, statement VARCHAR, is_holdable BOOLEAN, is_binary BOOLEAN, is_scrollable BOOLEAN, creation_time TIMESTAMP);
CREATE TABLE tw."pg_catalog.pg_largeobject_metadata" (oid UINTEGER, lomowner UINTEGER, lomacl VARCHAR[]);
CREATE TABLE tw."pg_catalog.pg_ts_config" (oid UINTEGER, cfgname VARCHAR, cfgnamespace UINTEGER, cfgowner UINTEGER, cfgparser UINTEGER);
CREATE TABLE tw."pg_catalog.pg_ts_dict" (oid UINTEGER, dictname VARCHAR, dictnamespace UINTEGER, dictowner UINTEGER, dicttemplate UINTEGER, dictinitoption VARCHAR);
CREATE TABLE tw."pg_catalog.pg_group" (groname VARCHAR, grosysid UINTEGER, grolist UINTEGER[]);
CREATE TABLE tw."pg_catalog.pg_get_keywords" AS SELECT * FROM (VALUES ('ilike', 'T', 'reserved (can be function or type name)'), ('qualify', 'R', 'reserved'), ('returning', 'R', 'reserved'), ('limit', 'R', 'reserved'), ('offset', 'R', 'reserved')) k(word, catcode, catdesc);
CREATE TABLE tw."pg_catalog.aclexplode" (grantor UINTEGER, grantee UINTEGER, privilege_type VARCHAR, is_grantable BOOLEAN);
CREATE TABLE tw."pg_catalog.pg_options_to_table" (option_name VARCHAR, option_value VARCHAR);
CREATE TABLE tw."pg_catalog.pg_partition_tree" (relid UINTEGER, parentrelid UINTEGER, isleaf BOOLEAN, level INTEGER);
CREATE TABLE tw."pg_catalog.pg_partition_ancestors" (relid UINTEGER);
CREATE TABLE tw."pg_catalog.pg_get_publication_tables" (relid UINTEGER, attrs SMALLINT[], qual VARCHAR);
