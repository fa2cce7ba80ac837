#!/bin/sh
# Makes the bucket, its versioning and lifecycle, and the users of the three roles with their
# policies. Run again, it brings everything back to what stands here; nothing is ever removed.
#
#   ENDPOINT=http://127.0.0.1:9000 CREDENTIALS=minio/credentials minio/apply.sh
#
# CREDENTIALS is a folder of files, as Secrets are mounted: root/MINIO_ROOT_USER,
# root/MINIO_ROOT_PASSWORD, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in trainer/, scorer/
# and reader/. Keys go to `mc` by its standard input, so no list of processes shows them.
#
# Needs MinIO's client `mc`: set MC if it is not on the PATH.
set -eu

bucket=lynceus # the policies name it
here=$(dirname "$0")
mc=${MC:-mc}
MC_CONFIG_DIR=$(mktemp -d)
export MC_CONFIG_DIR
trap 'rm -rf "$MC_CONFIG_DIR"' EXIT

lines() {
    for file in "$@"; do
        cat "$CREDENTIALS/$file"
        echo
    done
}

lines root/MINIO_ROOT_USER root/MINIO_ROOT_PASSWORD | "$mc" --quiet alias set store "$ENDPOINT" >/dev/null
"$mc" mb --ignore-existing "store/$bucket"
"$mc" version enable "store/$bucket"
"$mc" ilm import "store/$bucket" <"$here/lifecycle.json"

for role in trainer scorer reader recorder; do
    "$mc" admin policy create store "lynceus-$role" "$here/policies/$role.json"
    lines "$role/AWS_ACCESS_KEY_ID" "$role/AWS_SECRET_ACCESS_KEY" | "$mc" admin user add store >/dev/null
    user=$(cat "$CREDENTIALS/$role/AWS_ACCESS_KEY_ID")
    # Attaching what is attached is an error to `mc`, and fine here.
    if ! said=$("$mc" admin policy attach store "lynceus-$role" --user "$user" 2>&1); then
        case $said in
        *"already in effect"*) ;;
        *)
            echo "$said" >&2
            exit 1
            ;;
        esac
    fi
    echo "user of role $role has policy lynceus-$role"
done
