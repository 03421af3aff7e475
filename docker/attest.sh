#!/usr/bin/env bash
# What is in the images, and that they are ours: a CycloneDX list of each image's packages (syft), and a signature by
# key (cosign) over the image's id and the list's digest. No network: nothing is sent to a transparency log.
#
#   docker/attest.sh sign KEY FOLDER      KEY: cosign's, its password in COSIGN_PASSWORD; writes FOLDER/{api,worker}.*
#   docker/attest.sh verify KEY.pub FOLDER    fails unless the images here are the signed ones, and the lists too
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1 key=$2 folder=$3 tag=${TAG:-dev}
mkdir -p "$folder"

id_of() { docker image inspect --format '{{.Id}}' "cleanclip/$1:$tag"; }

for name in api worker; do
    list=$folder/$name.cdx.json
    record=$folder/$name.record
    case $what in
    sign)
        syft scan --quiet --output "cyclonedx-json=$list" "docker:cleanclip/$name:$tag"
        num=$(grep -o '"purl"' "$list" | wc -l)
        [ "$num" -gt 50 ] || { echo "cleanclip/$name: no list: $num packages" >&2; exit 1; }
        printf '%s  cleanclip/%s:%s\n%s  %s\n' "$(id_of "$name")" "$name" "$tag" \
            "$(sha256sum < "$list" | cut -d' ' -f1)" "$name.cdx.json" > "$record"
        cosign sign-blob --yes --tlog-upload=false --key "$key" --output-signature "$record.sig" "$record" > /dev/null 2>&1
        echo "cleanclip/$name:$tag: $num packages listed, signed"
        ;;
    verify)
        cosign verify-blob --key "$key" --signature "$record.sig" --insecure-ignore-tlog=true "$record" > /dev/null 2>&1 ||
            { echo "$record: the signature is not this key's" >&2; exit 1; }
        grep -q "^$(id_of "$name")  " "$record" || { echo "cleanclip/$name:$tag is not the signed image" >&2; exit 1; }
        grep -q "^$(sha256sum < "$list" | cut -d' ' -f1)  " "$record" || { echo "$list is not the signed list" >&2; exit 1; }
        echo "cleanclip/$name:$tag: image and list are the signed ones"
        ;;
    esac
done
