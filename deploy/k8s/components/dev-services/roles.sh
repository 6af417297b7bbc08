#!/bin/sh
# Creates one login for each workload, with the passwords of docker-compose.yml. The image runs this script once, when it
# initialises the volume. On an older volume, run the SQL by hand, then run `fleet-consumer migrate`.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set migrator="$MIGRATOR_PASSWORD" --set consumer="$CONSUMER_PASSWORD" --set reader="$READER_PASSWORD" \
    --set operator="$OPERATOR_PASSWORD" <<'SQL'
CREATE ROLE fleet_migrator LOGIN;
CREATE ROLE fleet_consumer NOLOGIN;
CREATE ROLE fleet_reader NOLOGIN;
GRANT CREATE ON SCHEMA public TO fleet_migrator;
CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE ROLE migrator LOGIN PASSWORD :'migrator' IN ROLE fleet_migrator;
CREATE ROLE consumer LOGIN PASSWORD :'consumer' IN ROLE fleet_consumer;
CREATE ROLE reader LOGIN PASSWORD :'reader' IN ROLE fleet_reader;
CREATE ROLE operator LOGIN PASSWORD :'operator' IN ROLE fleet_reader, pg_monitor, pg_signal_backend;
SQL
