#!/bin/sh
# Sends one update to the book of a symbol with redis-cli: redis_cli.sh SYMBOL SIDE PRICE QUANTITY, in ticks and lots.
set -eu

url=${REDIS_URL:-redis://127.0.0.1:6379/0}
prefix=${PREFIX:-depthcast}
symbol=$1 side=$2 price=$3 quantity=$4

partitions=$(redis-cli -u "$url" --raw HGET "$prefix:meta" partitions)
if [ -z "$partitions" ]; then
    echo "there is no deployment with the prefix $prefix at $url: start an ingestor" >&2
    exit 1
fi
# A gzip file ends with the crc32 of what is in it, and its length. `depthcast partition SYMBOL` prints the same.
set -- $(printf %s "$symbol" | gzip -1 -c | tail -c 8 | od -An -N4 -tu1)
crc32=$(($1 + $2 * 256 + $3 * 65536 + $4 * 16777216))

redis-cli -u "$url" XADD "{$prefix:$((crc32 % partitions))}:events" '*' \
    _ '{"atomic": true}' "$symbol" "[[\"update\", \"$side\", $price, $quantity]]"
