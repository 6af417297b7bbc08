-- Runs after every migration. TimescaleDB's Apache edition has neither compression nor policies, although their
-- functions exist. `fleet-consumer retention` works with both editions.
DO $$
BEGIN
    IF current_setting('timescaledb.license', true) = 'timescale' THEN
        IF NOT EXISTS (SELECT FROM timescaledb_information.hypertables
                        WHERE hypertable_name = 'telemetry' AND compression_enabled) THEN
            ALTER TABLE telemetry SET (timescaledb.compress,
                                       timescaledb.compress_segmentby = 'vehicle_id',
                                       timescaledb.compress_orderby = 'observed_at DESC, event_id');
        END IF;
        PERFORM add_compression_policy('telemetry', INTERVAL '7 days', if_not_exists => true);
    END IF;
END
$$
