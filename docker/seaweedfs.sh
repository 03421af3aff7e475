#!/bin/sh
# Starts SeaweedFS with an identity for each process of the service: the folders that it needs, and what it does there.
# (Write means making and deleting; listing an upload's parts counts as reading. docker/store-policy.json takes reading
# and making from the sweeper again.) All of its servers but S3 trust
# whoever reaches them: they listen to this container itself.
set -eu
bucket=${STORAGE_BUCKET:-cleanclip}
folders="uploads checkpoints datasets outputs states"

quoted() { printf %s "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }

# may "Read Write" uploads data → the actions of an identity
may() {
    actions=$1
    shift
    for folder in "$@"; do for action in $actions; do printf ', "%s:%s/%s/*"' "$action" "$bucket" "$folder"; done; done
}

identity() {
    printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": [%s]}' \
        "$1" "$1" "$(quoted "$2")" "$(printf %s "$3" | sed 's/^, //')"
}

umask 077
place=${STORAGE_IDENTITIES:-/tmp/identities.json}
# shellcheck disable=SC2086 - the folders are several words
cat > "$place" <<JSON
{"identities": [
$(identity owner "$STORAGE_OWNER_SECRET" "\"Admin:$bucket\", \"Read:$bucket\", \"Write:$bucket\", \"List:$bucket\""),
$(identity api "$STORAGE_API_SECRET" "$(may 'Read Write List' uploads)$(may Read datasets outputs)$(may 'Read List' data)"),
$(identity worker "$STORAGE_WORKER_SECRET" "$(may 'Read Write List' $folders)$(may Read nulls)$(may 'Read List' data)"),
$(identity sweeper "$STORAGE_SWEEPER_SECRET" "$(may 'Read Write List' $folders)"),
$(identity operator "$STORAGE_OPERATOR_SECRET" "$(may 'Read List' $folders)$(may 'Read Write List' nulls)")
]}
JSON

exec weed -logtostderr=true server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
    -master.volumeSizeLimitMB=1024 -volume.max=0 -volume.preStopSeconds=1 -s3 -s3.ip.bind=0.0.0.0 -s3.port=8333 -s3.config="$place" \
    -s3.port.iceberg=0 -s3.port.lance=0 "$@"
