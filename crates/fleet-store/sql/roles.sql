-- Runs after every migration, in whichever of the two databases; changes only what is not as it should be. Roles are the
-- cluster's and not the schema's: a database that is restored elsewhere brings its tables and not its roles, and they
-- may be made long after the tables.
DO $$
DECLARE
    missing  text;
    migrator oid;
    reader   oid;
    consumer oid;
    object   record;
    wanted   record;
BEGIN
    FOREACH missing IN ARRAY ARRAY['fleet_migrator', 'fleet_consumer', 'fleet_reader'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = missing);
        BEGIN
            -- TimescaleDB compresses as the hypertable's owner, who must be able to log in. Nobody can without a password.
            EXECUTE format('CREATE ROLE %I %s', missing,
                           CASE missing WHEN 'fleet_migrator' THEN 'LOGIN' ELSE 'NOLOGIN' END);
            -- Who makes a role may grant it, and only a member can hand it the tables.
            IF missing = 'fleet_migrator' AND NOT pg_has_role(current_user, 'fleet_migrator', 'USAGE') THEN
                GRANT fleet_migrator TO CURRENT_USER;
            END IF;
        EXCEPTION
            -- The migration of another database in the cluster was quicker.
            WHEN duplicate_object OR unique_violation THEN NULL;
            -- The caller looks which are still missing, and says so.
            WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;

    SELECT oid INTO migrator FROM pg_roles WHERE rolname = 'fleet_migrator';
    SELECT oid INTO reader FROM pg_roles WHERE rolname = 'fleet_reader';
    SELECT oid INTO consumer FROM pg_roles WHERE rolname = 'fleet_consumer';
    IF pg_has_role(current_user, migrator, 'MEMBER') THEN
        BEGIN
            IF NOT has_schema_privilege(migrator, current_schema(), 'CREATE') THEN
                EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO fleet_migrator', current_schema());
            END IF;
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
        END;
        FOR object IN
            SELECT c.oid::regclass::text AS name, c.relowner AS owner,
                   CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind
              FROM pg_class c
             WHERE c.relnamespace = current_schema()::regnamespace
               AND c.relowner <> migrator
               AND (c.relname ~ '^vehicle_row_v[0-9]+$' OR c.relname IN ('vehicles', 'vehicle_positions', 'vehicle_state', 'received_vehicle_state',
                                 'settled_state_batches', 'queue_witnesses', 'fleet_state_migrations', 'telemetry', 'telemetry_row', 'dead_letters',
                                 'dead_messages', 'settled_batches', 'unstored_messages', 'fleet_telemetry_migrations'))
             UNION ALL
            SELECT p.oid::regprocedure::text, p.proowner, 'FUNCTION'
              FROM pg_proc p
             WHERE p.pronamespace = current_schema()::regnamespace
               AND p.proowner <> migrator
               AND p.proname = 'delete_dead_messages'
        LOOP
            IF NOT pg_has_role(current_user, object.owner, 'USAGE') THEN
                RAISE object_not_in_prerequisite_state USING MESSAGE = format(
                    '%s belongs to %s: run migrate once as a superuser, which hands it to fleet_migrator',
                    object.name, object.owner::regrole);
            END IF;
            BEGIN
                EXECUTE format('ALTER %s %s OWNER TO fleet_migrator', object.kind, object.name);
            EXCEPTION
                -- To hand over chunks takes rights on TimescaleDB's own schema. The table stays its owner's, who is who
                -- migrates, until a superuser does.
                WHEN insufficient_privilege THEN NULL;
            END;
        END LOOP;
    END IF;

    -- Everybody may use the schema public, and nobody but its owner another one.
    FOR wanted IN
        SELECT rolname AS role FROM pg_roles
         WHERE rolname IN ('fleet_consumer', 'fleet_reader')
           AND NOT has_schema_privilege(oid, current_schema(), 'USAGE')
    LOOP
        BEGIN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), wanted.role);
        EXCEPTION
            -- The schema is somebody else's. The caller looks who may not use it, and says so.
            WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;

    FOR wanted IN
        SELECT role, relation, privileges
          FROM (VALUES ('fleet_consumer', 'vehicles', '{SELECT,INSERT,UPDATE}'::text[]),
                       ('fleet_consumer', 'settled_state_batches', '{SELECT,INSERT}'),
                       ('fleet_consumer', 'queue_witnesses', '{SELECT,INSERT,UPDATE}'),
                       ('fleet_consumer', 'fleet_state_migrations', '{SELECT}'),
                       ('fleet_consumer', 'telemetry', '{INSERT}'),
                       ('fleet_consumer', 'dead_letters', '{SELECT,INSERT,UPDATE,DELETE}'),
                       ('fleet_consumer', 'dead_messages', '{SELECT,INSERT,UPDATE}'),
                       ('fleet_consumer', 'settled_batches', '{SELECT,INSERT}'),
                       ('fleet_consumer', 'unstored_messages', '{INSERT}'),
                       ('fleet_consumer', 'fleet_telemetry_migrations', '{SELECT}'),
                       ('fleet_reader', 'vehicles', '{SELECT}'),
                       ('fleet_reader', 'vehicle_positions', '{SELECT}'),
                       ('fleet_reader', 'queue_witnesses', '{SELECT}'),
                       ('fleet_reader', 'telemetry', '{SELECT}'),
                       ('fleet_reader', 'unstored_messages', '{SELECT}')) AS grants (role, relation, privileges)
          JOIN pg_roles ON rolname = role
         -- Neither true nor false where the table is in the other database.
         WHERE NOT (SELECT bool_and(has_table_privilege(pg_roles.oid, to_regclass(relation), privilege))
                      FROM unnest(privileges) AS privilege)
    LOOP
        EXECUTE format('GRANT %s ON %I TO %I', array_to_string(wanted.privileges, ', '), wanted.relation, wanted.role);
    END LOOP;

    -- All but the bytes, which are the whole webhook.
    IF to_regclass('dead_letters') IS NOT NULL
       AND reader IS NOT NULL
       AND NOT has_column_privilege(reader, 'dead_letters', 'message_id', 'SELECT') THEN
        GRANT SELECT (message_id, event_index, provider, reason, detail, attempts, received_at, first_dead_at, last_dead_at)
           ON dead_letters TO fleet_reader;
    END IF;

    -- The key alone, which INSERT … RETURNING needs: it does not show where a vehicle was.
    IF to_regclass('telemetry') IS NOT NULL
       AND consumer IS NOT NULL
       AND NOT (SELECT bool_and(has_column_privilege(consumer, 'telemetry', key_column, 'SELECT'))
                  FROM unnest(ARRAY['vehicle_id', 'observed_at', 'event_id']) AS key_column) THEN
        GRANT SELECT (vehicle_id, observed_at, event_id) ON telemetry TO fleet_consumer;
    END IF;
END
$$
