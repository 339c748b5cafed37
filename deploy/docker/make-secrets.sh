#!/bin/sh
# make-secrets.sh FOLDER USERS: makes what all containers share, unless it is there: the cluster's keys and the token for
# changes at the private listeners. USERS, lines USER:PASSWORD, is copied, so that nobody else has to read the original.
set -eu
umask 077
folder=$1 users=$2
random() { head -c 32 /dev/urandom | base64; }
[ -s "$folder/cluster-keys" ] || random >"$folder/cluster-keys"
[ -s "$folder/admin-token" ] || random | tr '+/' '-_' | tr -d '=' >"$folder/admin-token"
cp "$users" "$folder/sip-users"
chown -R 65532:65532 "$folder"
chmod 0500 "$folder"
chmod 0400 "$folder"/*
