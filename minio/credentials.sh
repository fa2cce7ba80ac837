#!/bin/sh
# Writes random keys for MinIO's owner and the three roles into minio/credentials/, which git
# ignores; what is there already stays. `kubectl apply -k minio` makes Secrets of them.
set -eu

folder=${1:-$(dirname "$0")/credentials}
umask 077

random() {
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

write() {
    mkdir -p "$(dirname "$folder/$1")"
    [ -e "$folder/$1" ] || printf %s "$2" >"$folder/$1"
}

write root/MINIO_ROOT_USER "owner-$(random 4)"
write root/MINIO_ROOT_PASSWORD "$(random 24)"
for role in trainer scorer reader recorder; do
    write "$role/AWS_ACCESS_KEY_ID" "$role-$(random 4)"
    write "$role/AWS_SECRET_ACCESS_KEY" "$(random 24)"
done
