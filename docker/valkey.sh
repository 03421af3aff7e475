#!/bin/sh
# Starts Valkey with a user for each process of the service: the commands and keys that it needs, and no others.
# All of it goes in by stdin, and of each password only its digest: a command line can be read by others, and a
# password of any characters needs no quoting. The default user, with every right, is this container's own.
set -eu

user() {
    name=$1 password=$2
    shift 2
    echo "user $name on resetkeys resetchannels -@all #$(printf %s "$password" | sha256sum | cut -d' ' -f1) $*"
}
any="+ping +hello +auth +select +client|setinfo +client|setname +client|id"
hints="~cleanclip.light* ~cleanclip.heavy*"

exec valkey-server - --appendonly yes --save '' --maxmemory 512mb --maxmemory-policy noeviction \
    --proto-max-bulk-len 1mb "$@" <<CONFIG
$(user default "$VALKEYCLI_AUTH" '~*' '&*' +@all)
$(user api "$VALKEY_API_PASSWORD" "$any" "$hints" '~cleanclip.rates*' '~cleanclip.readiness' \
    '%R~cleanclip.hints_refused' +lpush +llen +get +set +exists +incrby +pttl +rename +evalsha '+script|load')
$(user worker "$VALKEY_WORKER_PASSWORD" "$any" "$hints" '~cleanclip.hints_refused' +brpop +incrby +lpush +llen)
$(user sweeper "$VALKEY_SWEEPER_PASSWORD" "$any" "$hints" +lpush +llen)
CONFIG
