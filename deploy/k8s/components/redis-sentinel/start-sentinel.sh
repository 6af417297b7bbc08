# Starts a Sentinel. Its file in the volume has what it has learnt, so a new file is written only for an empty volume.
set -eu

data=${DATA:-/data}
settings=${SETTINGS:-/etc/sentinel}

if [ ! -f "$data/sentinel.conf" ]; then
    { cat "$settings/sentinel.conf"; echo "sentinel announce-ip $(hostname).redis-sentinel"; } > "$data/new.conf"
    mv "$data/new.conf" "$data/sentinel.conf"
fi
cd "$data"
exec redis-server sentinel.conf --sentinel
