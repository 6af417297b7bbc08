# Starts one Redis of the pair as the primary or as a replica. Most Sentinels decide which. If they cannot be asked, the other
# Redis decides.
#
# A server whose disk was lost must not start as the primary, because the other one would copy the empty data set. It waits
# until the Sentinels have promoted the other one.
set -eu

data=${DATA:-/data}
name=$(hostname)
case $name in
    *-0) other=${name%-0}-1 ;;
    *) other=${name%-1}-0 ;;
esac
me=$name.redis-node
other=$other.redis-node

# ask <host> <port> <user> <command…>
ask() {
    host=$1 port=$2 user=$3
    shift 3
    timeout 2 redis-cli -h "$host" -p "$port" --user "$user" --pass "local-use-only-$user" --no-auth-warning "$@" 2>/dev/null || true
}

# The primary that at least two Sentinels name; empty if there is none.
primary() {
    for number in 0 1 2; do
        ask "redis-sentinel-$number.redis-sentinel" 26379 client sentinel get-master-addr-by-name fleet | head -n 1
    done | sort | uniq -c | awk '$1 >= 2 { print $2 }'
}

# `master` or `slave`; empty if the other Redis does not respond.
role_of_other() {
    ask "$other" 6379 sentinel role | head -n 1 | grep -xE 'master|slave' || true
}

has_data() {
    [ -n "$(ls "$data/appendonlydir" 2>/dev/null)" ]
}

start() {
    echo "starting as $1"
    shift
    cd "$data"
    exec redis-server --dir "$data" --port 6379 --replica-announce-ip "$me" --replica-announce-port 6379 \
        --masteruser replica --masterauth local-use-only-replica --repl-diskless-sync-delay 0 "$@"
}

waiting=
while :; do
    case $(primary) in
        "$other") start "a replica of $other" --replicaof "$other" 6379 "$@" ;;
        "$me")
            # Without data and without another server, this is the first start.
            if has_data || [ -z "$(role_of_other)" ]; then start "the primary" "$@"; fi
            reason="this disk is empty, $other has data: the Sentinels must promote it first"
            ;;
        *)
            case $(role_of_other) in
                master) start "a replica of $other" --replicaof "$other" 6379 "$@" ;;
                slave)
                    if has_data; then start "the primary" "$@"; fi
                    reason="this disk is empty, $other has data, and no two Sentinels agree on a primary"
                    ;;
                *)
                    case $name in *-0) start "the primary" "$@" ;; esac
                    reason="neither $other nor two Sentinels respond"
                    ;;
            esac
            ;;
    esac
    [ "$waiting" = "$reason" ] || echo "waiting: $reason"
    waiting=$reason
    sleep 1
done
