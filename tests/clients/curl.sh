#!/bin/bash
# curl, step by step, as client.py is: `curl.sh curl URL RETRIES`.
while read -r _; do
    said=$(curl -s -o /dev/null --max-time 20 -w '%{exitcode} %{time_total} %{errormsg}' "$2")
    read -r code seconds message <<<"$said"
    ok=true errno=""
    if [ "$code" != 0 ]; then ok=false; fi
    if [ "$code" = 7 ]; then errno=ECONNREFUSED; fi
    printf '{"ok": %s, "ms": %s, "errno": "%s", "error": "%s"}\n' \
        "$ok" "$(awk "BEGIN { print $seconds * 1000 }")" "$errno" "$message"
done
