# Starts one Redis of the pair as the primary or as a replica. Most Sentinels decide which. If they do not agree, the role of
# the other Redis decides. If neither responds, it waits.
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
    REDISCLI_AUTH=local-use-only-$user timeout 2 redis-cli -h "$host" -p "$port" --user "$user" "$@" 2>/dev/null || true
}

# The primary that at least two Sentinels name; empty if there is none.
primary() {
    for number in 0 1 2; do
        ask "redis-sentinel-$number.redis-sentinel" 26379 client sentinel get-master-addr-by-name fleet | head -n 1
    done | sort | uniq -c | awk '$1 >= 2 { print $2 }'
}

# The largest number of replicas that a Sentinel knows; empty if none responds. They remember replicas that are down, and after
# a restart. So it is 0 only until the pair has formed for the first time.
known_replicas() {
    for number in 0 1 2; do
        ask "redis-sentinel-$number.redis-sentinel" 26379 client sentinel master fleet |
            awk '$0 == "num-slaves" { getline; print }'
    done | sort -n | tail -n 1
}

# `master` or `slave`; empty if the other Redis does not respond.
role_of_other() {
    ask "$other" 6379 sentinel role | head -n 1 | grep -xE 'master|slave' || true
}

other_has_data() {
    ask "$other" 6379 sentinel info keyspace | grep -q '^db'
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

# The shell is process 1, which ignores SIGTERM otherwise.
trap 'exit 0' TERM
waiting=
while :; do
    case $(primary) in
        "$other") start "a replica of $other" --replicaof "$other" 6379 "$@" ;;
        "$me")
            # Without data, this must be the first start.
            if has_data || { [ "$(known_replicas)" = 0 ] && ! other_has_data; }; then start "the primary" "$@"; fi
            reason="this disk is empty, and $other may have data: the Sentinels must promote it first"
            ;;
        *)
            case $(role_of_other) in
                master) start "a replica of $other" --replicaof "$other" 6379 "$@" ;;
                slave)
                    if has_data; then start "the primary" "$@"; fi
                    reason="this disk is empty, $other may have data, and no two Sentinels agree on a primary"
                    ;;
                *) reason="neither $other nor two Sentinels respond" ;;
            esac
            ;;
    esac
    [ "$waiting" = "$reason" ] || echo "waiting: $reason"
    waiting=$reason
    sleep 1
done
