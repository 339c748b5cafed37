# The sipp scenarios of run.sh, put together from single messages. Sourced, never run.
# shellcheck shell=bash
#
# Keys of sipp in them: [user] who sends, [domain], [service] who is called, [binding] the header line of a REGISTER.

scenario() { # NAME PART..: every PART is a function with its words, such as "expect 200"
  local part
  echo '<?xml version="1.0" encoding="ISO-8859-1" ?>'
  echo "<scenario name=\"$1\">"
  shift
  for part in "$@"; do $part; done
  echo '</scenario>'
}

message() { # FIRST-LINE BRANCH CSEQ TO-PARAMETER LINE..
  echo '<![CDATA['
  printf '%s\n' "$1" "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-[call_number]-$2" 'Max-Forwards: 70' \
    'From: <sip:[user]@[domain]>;tag=[pid]t[call_number]' "To: <sip:${to:-[service]}@[domain]>$4" 'Call-ID: [call_id]' "CSeq: $3"
  [ $# -lt 5 ] || printf '%s\n' "${@:5}"
  printf '%s\n' 'Content-Length: 0' '' ']]>'
}
sends() { # as message
  echo '<send retrans="500">' && message "$@" && echo '</send>'
}
sends_once() { echo '<send>' && message "$@" && echo '</send>'; }

expect() { echo "<recv response=\"$1\" ${2:-}/>"; }
may_come() { echo "<recv response=\"$1\" optional=\"true\"><action><log message=\"$2\"/></action></recv>"; }
log_header() { # HEADER WORD
  echo "<action><ereg regexp=\".*\" search_in=\"hdr\" header=\"$1\" assign_to=\"header\"/><log message=\"$2 [\$header]\"/></action>"
}
wait_ms() { echo "<pause milliseconds=\"$1\"/>"; }

# REGISTER with [binding], the password when asked; the bindings in the final answer go to the log.
register() { # STATUS
  local to='[user]'
  sends 'REGISTER sip:[domain] SIP/2.0' r1 '1 REGISTER' '' '[binding]'
  expect 401 'auth="true"'
  sends 'REGISTER sip:[domain] SIP/2.0' r2 '2 REGISTER' '' '[binding]' '[authentication]'
  echo "<recv response=\"$1\">$(log_header Contact: bindings)</recv>"
}

heartbeat() { sends 'OPTIONS sip:[remote_ip]:[remote_port] SIP/2.0' o1 '1 OPTIONS' ''; }

# As after a restart of the server, which no longer knows its nonces.
old_nonce() {
  local to='[user]'
  sends 'REGISTER sip:[domain] SIP/2.0' r0 '0 REGISTER' '' '[binding]' \
    'Authorization: Digest username="[user]", realm="[domain]", nonce="bm9uY2U", uri="sip:[domain]", qop=auth, nc=00000001, cnonce="1", response="00112233445566778899aabbccddeeff"'
  expect 401
}

contact='Contact: <sip:[user]@[local_ip]:[local_port];transport=[transport]>'
uri='sip:[service]@[domain]'

# INVITE of [service], the password when asked, up to what comes before the final answer.
invite() {
  sends "INVITE $uri SIP/2.0" i1 '1 INVITE' '' "$contact"
  may_come 100 trying
  expect 407 'auth="true"'
  sends_once "ACK $uri SIP/2.0" i1 '1 ACK' '[peer_tag_param]'
  sends "INVITE $uri SIP/2.0" i2 '2 INVITE' '' "$contact" '[authentication]'
  may_come 100 trying
}
rings() {
  may_come 182 queued
  may_come 180 ringing
}
refused() { # STATUS
  expect "$1"
  sends_once "ACK $uri SIP/2.0" i2 '2 ACK' '[peer_tag_param]'
}
answered() {
  expect 200 'rrs="true"'
  sends_once 'ACK [next_url] SIP/2.0' a2 '2 ACK' '[peer_tag_param]' '[routes]'
}
cancel() {
  sends "CANCEL $uri SIP/2.0" i2 '2 CANCEL' ''
  # Its own answer may come before or after that of the INVITE.
  may_come 200 cancelled
}
within() { # METHOD CSEQ [LINE]: a request of the caller within the call
  sends "$1 [next_url] SIP/2.0" "w$2" "$2 $1" '[peer_tag_param]' '[routes]' "$contact" ${3:+"$3"}
}
again() { # METHOD CSEQ: the same once more, as if its answer were lost
  sends_once "$1 [next_url] SIP/2.0" "w$2" "$2 $1" '[peer_tag_param]' '[routes]' "$contact"
}

# The other end.
invited() { echo '<recv request="INVITE" rrs="true"><action><log message="invited"/></action></recv>'; }
reply() { # STATUS-AND-REASON TAG LINE..
  echo '<send><![CDATA['
  printf '%s\n' "SIP/2.0 $1" '[last_Via:]' '[last_Record-Route:]' '[last_From:]' "[last_To:]$2" '[last_Call-ID:]' '[last_CSeq:]'
  [ $# -lt 3 ] || printf '%s\n' "${@:3}"
  printf '%s\n' 'Content-Length: 0' '' ']]></send>'
}
ringing() { reply '180 Ringing' ';tag=[pid]u[call_number]' 'Contact: <sip:[local_ip]:[local_port];transport=[transport]>'; }
answers() {
  reply '200 OK' ';tag=[pid]u[call_number]' 'Contact: <sip:[local_ip]:[local_port];transport=[transport]>'
  echo '<recv request="ACK"/>'
}
# INFO as often as it comes, then BYE.
is_hung_up_on() {
  echo '<label id="1"/><recv request="INFO" optional="true" next="2"/><recv request="BYE" next="3"/>'
  echo '<label id="2"/>' && reply '200 OK' '' | sed 's/<send>/<send next="1">/'
  echo '<label id="3"/>' && reply '200 OK' ''
}
