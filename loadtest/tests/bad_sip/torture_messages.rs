//! RFC 4475's torture messages, one for each of its sections: with the defect or the oddity that the section describes, about
//! users of ours. Line ends are LF here and CRLF on their way.
//!
//! `{U}` is the URI of a user, `{T}` the transport, `{N}` a mark that is new each time, `{L}` the length of the body.

/// One of them.
pub(crate) struct Torture {
    pub(crate) section: &'static str,
    /// The RFC's name of it.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) text: &'static str,
}

const fn torture(section: &'static str, name: &'static str, what: &'static str, text: &'static str) -> Torture {
    Torture { section, name, what, text }
}

/// Stands for this description where a message has one.
pub(crate) const SDP: &str = "v=0\n\
    o=far 29739 7272939 IN IP4 127.0.0.1\n\
    s=-\n\
    c=IN IP4 127.0.0.1\n\
    t=0 0\n\
    m=audio 49217 RTP/AVP 0 12\n\
    m=video 3227 RTP/AVP 31\n\
    a=rtpmap:31 LPC\n";

pub(crate) const VALID: [Torture; 13] = [
    torture("3.1.1.1", "wsinv", "white space and folds everywhere", "INVITE {U} SIP/2.0
TO :
 sip:mallory@example.org
from   : \"J Rosenberg \\\\\\\"\"       <sip:far@example.org>
  ;
  tag = {N}
MaX-fOrWaRdS: 0068
Call-ID: wsinv.{N}@192.0.2.1
Content-Length   : {L}
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /{T}
    127.0.0.1:9;branch=390{N}
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:\"Quoted string \\\"\\\"\" <sip:far@127.0.0.1:9> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

{SDP}"),
    torture("3.1.1.2", "intmeth", "unusual characters wherever they are allowed", "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.org SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}-.!%66*_+`'~
To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.org>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.org>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\u{43e}\u{442}\u{430}\";tag=_token~1'+`*%!-.
Call-ID: intmeth.{N}%ZK-!.*_+'@word`~)(><:\\/\"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_`'~:\u{feff}\u{5927}\u{505c}\u{96fb}
Content-Length: 0

"),
    torture("3.1.1.3", "esc01", "escapes in URIs", "INVITE {U} SIP/2.0
To: sip:%75se%72@example.org
From: <sip:I%20have%20spaces@example.org>;tag={N}
Max-Forwards: 87
i: esc01.{N}
CSeq: 234234 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
C: application/sdp
Contact:
  <sip:cal%6Cer@127.0.0.1:9;%6C%72;n%61me=v%61lue%25%34%31>
Content-Length: {L}

{SDP}"),
    torture("3.1.1.4", "escnull", "escaped nulls in URIs", "REGISTER sip:example.org SIP/2.0
To: sip:null-%00-null@example.org
From: sip:null-%00-null@example.org;tag={N}
Max-Forwards: 70
Call-ID: escnull.{N}
CSeq: 14398234 REGISTER
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: <sip:%00@127.0.0.1:9>
Contact: <sip:%00%00@127.0.0.1:9>
L:0

"),
    torture("3.1.1.5", "esc02", "a percent sign that escapes nothing", "RE%47IST%45R sip:example.org SIP/2.0
To: \"%Z%45\" <sip:resource@example.org>
From: \"%Z%45\" <sip:resource@example.org>;tag={N}
Call-ID: esc02.{N}
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}%fzsnel234
CSeq: 29344 RE%47IST%45R
Max-Forwards: 70
Contact: <sip:alias1@127.0.0.1:9>
C%6Fntact: <sip:alias2@127.0.0.1:9>
Contact: <sip:alias3@127.0.0.1:9>
l: 0

"),
    torture("3.1.1.6", "lwsdisp", "no space between a display name and <", "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: caller<sip:caller@example.org>;tag={N}
Max-Forwards: 70
Call-ID: lwsdisp.{N}@funky.example.com
CSeq: 60 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
l: 0

"),
    torture("3.1.1.7", "longreq", "long values, and 34 hops", "INVITE {U} SIP/2.0
To: \"I have a user name of {100:extreme} proportion\"<sip:mallory@example.org:6000;unknownparam1=very{20:long}value;{40:name}=shortvalue;very{20:long}ParameterNameWithNoValue>
F: sip:{5:amazinglylongcallername}@example.net;tag={N}{90:298};unknownheaderparam{20:name}=unknowheaderparam{15:value};unknownValueless{10:paramname}
Call-ID: longreq.{N}.one{20:really}longcallid
CSeq: 3882340 INVITE
Unknown-{20:Long}-Name: unknown-{20:long}-value; unknown-{20:long}-parameter-name = unknown-{20:long}-parameter-value
Via: SIP/2.0/{T} 127.0.0.1:9;branch={N}
{33:v: SIP/2.0/TCP sip33.example.com
}Via: SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=very{60:long}branchvalue
Max-Forwards: 70
Contact: <sip:{5:amazinglylongcallername}@127.0.0.1:9>
Content-Type: application/sdp
l: {L}

{SDP}"),
    torture("3.1.1.8", "dblreq", "more bytes behind a message", "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: sip:j.user@example.org;tag={N}
Max-Forwards: 8
I: dblreq.{N}
Contact: sip:j.user@127.0.0.1:9
CSeq: 8 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Length: 0


OPTIONS {U} SIP/2.0
t: sip:mallory@example.org
From: sip:caller@example.net;tag=141334
Max-Forwards: 8
Call-ID: dblreq.second
CSeq: 8 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bKsecond
Content-Length: 0

"),
    torture("3.1.1.9", "semiuri", "a semicolon in the user part", "OPTIONS sip:user;par=u%40example.net@example.org SIP/2.0
To: sip:j_user@example.org
From: sip:caller@example.org;tag={N}
Max-Forwards: 3
Call-ID: semiuri.{N}
CSeq: 8 OPTIONS
Accept: application/sdp, application/pkcs7-mime,
        multipart/mixed, multipart/signed,
        message/sip, message/sipfrag
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
l: 0

"),
    torture("3.1.1.10", "transports", "transports that nobody knows, further down", "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: <sip:caller@example.org>;tag={N}
Max-Forwards: 70
Call-ID:  transports.{N}
Accept: application/sdp
CSeq: 60 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf
Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj
Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en
Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee
l: 0

"),
    torture("3.1.1.11", "mpart01", "a body of several parts, one binary", "MESSAGE {U} SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N};rport
Max-Forwards: 70
Contact: <sip:fluffy@127.0.0.1:9>
To: <sip:mallory@example.org>
From: <sip:fluffy@example.org>;tag={N}
Call-ID: mpart01.{N}
CSeq: 1 MESSAGE
Content-Transfer-Encoding: binary
Content-Type: multipart/mixed;boundary=7a9cbec02ceef655
Date: Sat, 15 Oct 2005 04:44:56 GMT
Content-Length: {L}

--7a9cbec02ceef655
Content-Type: text/plain

Hello
--7a9cbec02ceef655
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary

{BINARY}
--7a9cbec02ceef655--
"),
    torture("3.1.1.12", "unreason", "a reason phrase in another script", "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Call-ID: unreason.{N}
CSeq: 35 INVITE
From: sip:user@example.org;tag=11141343
To: sip:user@example.net;tag=2229
Content-Length: {L}
Content-Type: application/sdp
Contact: <sip:user@127.0.0.1:9>

{SDP}"),
    torture("3.1.1.13", "noreason", "no reason phrase", "SIP/2.0 100 
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Call-ID: noreason.{N}
CSeq: 35 INVITE
From: <sip:user@example.org>;tag=39ansfi3
To: <sip:user@example.net>;tag=902jndnke3
Content-Length: 0
Contact: <sip:user@127.0.0.1:9>

"),
];

pub(crate) const INVALID: [Torture; 19] = [
    torture(
        "3.1.2.1",
        "badinv01",
        "separators without anything between",
        "INVITE {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 7
Call-ID: badinv01.{N}
CSeq: 8 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;;,;,,
Contact: \"Joe\" <sip:joe@127.0.0.1:9>;;;;
Content-Length: {L}
Content-Type: application/sdp

{SDP}",
    ),
    torture(
        "3.1.2.2",
        "clerr",
        "a body shorter than it says",
        "INVITE {U} SIP/2.0
Max-Forwards: 80
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Contact: <sip:caller@127.0.0.1:9>
Call-ID: clerr.{N}
CSeq: 8 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Type: application/sdp
Content-Length: 9999

{SDP}",
    ),
    torture(
        "3.1.2.3",
        "ncl",
        "a negative Content-Length",
        "INVITE {U} SIP/2.0
Max-Forwards: 254
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Call-ID: ncl.{N}
CSeq: 0 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: <sip:caller@127.0.0.1:9>
Content-Type: application/sdp
Content-Length: -999

{SDP}",
    ),
    torture(
        "3.1.2.4",
        "scalar02",
        "numbers beyond their range, in a request",
        "REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
To: <sip:user@example.org>
From: <sip:user@example.org>;tag={N}
CSeq: 36893488147419103232 REGISTER
Call-ID: scalar02.{N}
Max-Forwards: 300
Expires: 1{100:0}
Contact: <sip:user@127.0.0.1:9>
  ;expires=280297596632815
Content-Length: 0

",
    ),
    torture(
        "3.1.2.5",
        "scalarlg",
        "numbers beyond their range, in a response",
        "SIP/2.0 503 Service Unavailable
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
To: <sip:user@example.org>
From: <sip:other@example.net>;tag={N}
CSeq: 9292394834772304023312 OPTIONS
Call-ID: scalarlg.{N}
Retry-After: 949302838503028349304023988
Warning: 1812 overture \"In Progress\"
Content-Length: 0

",
    ),
    torture(
        "3.1.2.6",
        "quotbal",
        "a quote that is never closed",
        "INVITE {U} SIP/2.0
To: \"Mr. J. User <sip:mallory@example.org>
From: sip:caller@example.net;tag={N}
Max-Forwards: 10
Call-ID: quotbal.{N}
Contact: <sip:caller@127.0.0.1:9>
CSeq: 8 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Type: application/sdp
Content-Length: {L}

{SDP}",
    ),
    torture(
        "3.1.2.7",
        "ltgtruri",
        "<> around the Request-URI",
        "INVITE <{U}> SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 23
Call-ID: ltgtruri.{N}
CSeq: 1 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: <sip:caller@127.0.0.1:9>
Content-Type: application/sdp
Content-Length: {L}

{SDP}",
    ),
    torture(
        "3.1.2.8",
        "lwsruri",
        "a space within the Request-URI",
        "INVITE {U}; lr SIP/2.0
To: sip:mallory@example.org;tag=3xfe-9921883-z9f
From: sip:caller@example.net;tag={N}
Max-Forwards: 5
Call-ID: lwsruri.{N}
CSeq: 2130706432 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: <sip:caller@127.0.0.1:9>
Content-Type: application/sdp
Content-Length: {L}

{SDP}",
    ),
    torture(
        "3.1.2.9",
        "lwsstart",
        "several spaces in the start line",
        "INVITE  {U}  SIP/2.0
Max-Forwards: 8
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Call-ID: lwsstart.{N}
CSeq: 1893884 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: <sip:caller@127.0.0.1:9>
Content-Type: application/sdp
Content-Length: {L}

{SDP}",
    ),
    torture(
        "3.1.2.10",
        "trws",
        "spaces behind the version",
        "OPTIONS {U} SIP/2.0  
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
To: <sip:mallory@example.org>
From: <sip:caller@example.net>;tag={N}
Call-ID: trws.{N}
Accept: application/sdp
CSeq: 238923 OPTIONS
Max-Forwards: 70
Content-Length: 0

",
    ),
    torture(
        "3.1.2.11",
        "escruri",
        "a header field within the Request-URI",
        "INVITE {U}?Route=%3Csip:example.com%3E SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 7
Contact: <sip:caller@127.0.0.1:9>
Call-ID: escruri.{N}
CSeq: 149209342 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Type: application/sdp
Content-Length: {L}

{SDP}",
    ),
    torture(
        "3.1.2.12",
        "baddate",
        "a Date outside GMT",
        "INVITE {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 70
Call-ID: baddate.{N}
CSeq: 1392934 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Date: Fri, 01 Jan 2010 16:00:00 EST
Contact: <sip:caller@127.0.0.1:9>
Content-Type: application/sdp
Content-Length: {L}

{SDP}",
    ),
    torture(
        "3.1.2.13",
        "regbadct",
        "a Contact with header fields and no <>",
        "REGISTER sip:example.org SIP/2.0
To: sip:user@example.org
From: sip:user@example.org;tag={N}
Max-Forwards: 70
Call-ID: regbadct.{N}
CSeq: 1 REGISTER
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: sip:user@127.0.0.1:9?Route=%3Csip:sip.example.com%3E
l: 0

",
    ),
    torture(
        "3.1.2.14",
        "badaspec",
        "spaces within <>",
        "OPTIONS {U} SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards: 70
From: \"Bell, Alexander\" <sip:a.g.bell@example.org>;tag={N}
To: \"Watson, Thomas\" < sip:mallory@example.org >
Call-ID: badaspec.{N}
Accept: application/sdp
CSeq: 3923239 OPTIONS
l: 0

",
    ),
    torture(
        "3.1.2.15",
        "baddn",
        "a comma in a display name without quotes",
        "OPTIONS {U} SIP/2.0
Via:     SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards:      70
From:    Bell, Alexander <sip:a.g.bell@example.org>;tag={N}
To:      Watson, Thomas <sip:mallory@example.org>
Call-ID: baddn.{N}
Accept: application/sdp
CSeq:    3923239 OPTIONS
l: 0

",
    ),
    torture(
        "3.1.2.16",
        "badvers",
        "another version of SIP",
        "OPTIONS {U} SIP/7.0
Via:     SIP/7.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards:     70
From:    A. Bell <sip:a.g.bell@example.org>;tag={N}
To:      T. Watson <sip:mallory@example.org>
Call-ID: badvers.{N}
CSeq:    1 OPTIONS
l: 0

",
    ),
    torture(
        "3.1.2.17",
        "mismatch01",
        "CSeq of another method",
        "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 6
Call-ID: mismatch01.{N}
CSeq: 8 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
l: 0

",
    ),
    torture(
        "3.1.2.18",
        "mismatch02",
        "CSeq of another method, of a new one",
        "NEWMETHOD {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 6
Call-ID: mismatch02.{N}
CSeq: 8 INVITE
Contact: <sip:caller@127.0.0.1:9>
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Type: application/sdp
l: {L}

{SDP}",
    ),
    torture(
        "3.1.2.19",
        "bigcode",
        "a status beyond its range",
        "SIP/2.0 4294967301 better not break the receiver
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Call-ID: bigcode.{N}
CSeq: 353494 INVITE
From: <sip:user@example.org>;tag=39ansfi3
To: <sip:user@example.net>;tag=902jndnke3
Content-Length: 0
Contact: <sip:user@127.0.0.1:9>

",
    ),
];

/// Transaction layer (§3.2), application layer (§3.3), and RFC 2543 (§3.4).
pub(crate) const MEANING: [Torture; 17] = [
    torture(
        "3.2.1",
        "badbranch",
        "a branch of the cookie alone",
        "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.org;tag={N}
Max-Forwards: 3
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK
Accept: application/sdp
Call-ID: badbranch.{N}
CSeq: 8 OPTIONS
l: 0

",
    ),
    torture(
        "3.3.1",
        "insuf",
        "no Call-ID, From and To",
        "INVITE {U} SIP/2.0
CSeq: 193942 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}.insuf
Content-Type: application/sdp
l: {L}

{SDP}",
    ),
    torture(
        "3.3.2",
        "unkscm",
        "an unknown scheme",
        "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 3
Call-ID: unkscm.{N}
CSeq: 3923423 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Length: 0

",
    ),
    torture(
        "3.3.3",
        "novelsc",
        "a scheme that looks like others",
        "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 3
Call-ID: novelsc.{N}
CSeq: 3923423 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Length: 0

",
    ),
    torture(
        "3.3.4",
        "unksm2",
        "unknown schemes in To, From and Contact",
        "REGISTER sip:example.org SIP/2.0
To: isbn:2983792873
From: <http://www.example.com>;tag={N}
Call-ID: unksm2.{N}
CSeq: 234902 REGISTER
Max-Forwards: 70
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Contact: <name:John_Smith>
l: 0

",
    ),
    torture(
        "3.3.5",
        "bext01",
        "extensions that nobody has are required",
        "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 6
Call-ID: bext01.{N}
Require: nothingSupportsThis, nothingSupportsThisEither
Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis
CSeq: 8 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Length: 0

",
    ),
    torture(
        "3.3.6",
        "invut",
        "a body of an unknown type",
        "INVITE {U} SIP/2.0
Contact: <sip:caller@127.0.0.1:9>
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Max-Forwards: 70
Call-ID: invut.{N}
CSeq: 235448 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Type: application/unknownformat
Content-Length: {L}

<audio>
 <pcmu port=\"443\"/>
</audio>
",
    ),
    torture(
        "3.3.7",
        "regaut01",
        "an unknown scheme of authorization",
        "REGISTER sip:example.org SIP/2.0
To: sip:j.user@example.org
From: sip:j.user@example.org;tag={N}
Max-Forwards: 8
Call-ID: regaut01.{N}
CSeq: 9338 REGISTER
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Authorization: NoOneKnowsThisScheme opaque-data=here
Content-Length:0

",
    ),
    torture(
        "3.3.8",
        "multi01",
        "two values of fields that have one",
        "INVITE {U} SIP/2.0
Contact: <sip:caller@127.0.0.1:9>
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards: 70
CSeq: 5 INVITE
Call-ID: multi01.{N}
CSeq: 59 INVITE
Call-ID: multi01.98asdh@192.0.2.2
From: sip:caller@example.org;tag={N}
To: sip:mallory@example.org
To: sip:other@example.net
From: sip:caller@example.net;tag=2923420123
Content-Type: application/sdp
l: {L}
Contact: <sip:caller@127.0.0.1:10>
Max-Forwards: 5

{SDP}",
    ),
    torture(
        "3.3.9",
        "mcl01",
        "two lengths",
        "OPTIONS {U} SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
To: sip:mallory@example.org
From: sip:other@example.net;tag={N}
Call-ID: mcl01.{N}
CSeq: 15932 OPTIONS
Content-Length: 13
Max-Forwards: 60
Content-Length: 5
Content-Type: text/plain

There's no way to know how many octets are supposed to be here.
",
    ),
    torture(
        "3.3.10",
        "bcast",
        "a response that would go to everybody",
        "SIP/2.0 200 OK
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
Call-ID: bcast.{N}
CSeq: 35 INVITE
From: sip:user@example.org;tag=11141343
To: sip:user@example.net;tag=2229
Content-Length: {L}
Content-Type: application/sdp
Contact: <sip:user@127.0.0.1:9>

{SDP}",
    ),
    torture(
        "3.3.11",
        "zeromf",
        "no hop is left",
        "OPTIONS {U} SIP/2.0
To: sip:mallory@example.org
From: sip:caller@example.net;tag={N}
Call-ID: zeromf.{N}
CSeq: 39234321 OPTIONS
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards: 0
Content-Length: 0

",
    ),
    torture(
        "3.3.12",
        "cparam01",
        "an unknown parameter of the Contact",
        "REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards: 70
From: sip:watson@example.org;tag={N}
To: sip:watson@example.org
Call-ID: cparam01.{N}
CSeq: 2 REGISTER
Contact: sip:+19725552222@127.0.0.1:9;unknownparam
l: 0

",
    ),
    torture(
        "3.3.13",
        "cparam02",
        "an unknown parameter of the Contact's URI",
        "REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Max-Forwards: 70
From: sip:watson@example.org;tag={N}
To: sip:watson@example.org
Call-ID: cparam02.{N}
CSeq: 3 REGISTER
Contact: <sip:+19725552222@127.0.0.1:9;unknownparam>
l: 0

",
    ),
    torture(
        "3.3.14",
        "regescrt",
        "a Contact with a header field in its URI",
        "REGISTER sip:example.org SIP/2.0
To: sip:user@example.org
From: sip:user@example.org;tag={N}
Max-Forwards: 70
Call-ID: regescrt.{N}
CSeq: 14398234 REGISTER
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
M: <sip:user@127.0.0.1:9?Route=%3Csip:sip.example.com%3E>
L:0

",
    ),
    torture(
        "3.3.15",
        "sdp01",
        "an answer is wanted in an unknown type",
        "INVITE {U} SIP/2.0
To: sip:mallory@example.org
Contact: <sip:caller@127.0.0.1:9>
From: sip:caller@example.net;tag={N}
Max-Forwards: 5
Call-ID: sdp01.{N}
Accept: text/nobodyKnowsThis
CSeq: 8 INVITE
Via: SIP/2.0/{T} 127.0.0.1:9;branch=z9hG4bK{N}
Content-Length: {L}
Content-Type: application/sdp

{SDP}",
    ),
    torture(
        "3.4.1",
        "inv2543",
        "a caller of RFC 2543",
        "INVITE {U} SIP/2.0
Via: SIP/2.0/{T} 127.0.0.1:9
From: <sip:+13035551111@example.net;user=phone>
Record-Route: <sip:mallory@example.org;maddr=ss1.example.com>
To: sip:+16505552222@example.org;user=phone
Call-ID: inv2543.{N}
CSeq: 56 INVITE
Content-Type: application/sdp

{SDP}",
    ),
];

impl Torture {
    /// As it goes out.
    pub(crate) fn bytes(&self, uri: &str, transport: &str, mark: &str) -> Vec<u8> {
        let text = self.text.replace("{SDP}", SDP).replace("{U}", uri).replace("{N}", mark);
        let text = repeated(&text.replace("{T}", &transport.to_uppercase()));
        let (head, body) = text.split_once("\n\n").expect("a head");
        let body = crlf(body);
        let parts: Vec<&str> = body.split("{BINARY}").collect();
        let body = parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>().join(&BINARY[..]);
        let head = crlf(&head.replace("{L}", &body.len().to_string()));
        [head.as_bytes(), b"\r\n\r\n", &body].concat()
    }
}

/// No text.
const BINARY: [u8; 8] = [0x30, 0x82, 0x01, 0x52, 0x00, 0xff, 0xfe, 0xc3];

fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// Writes out `{20:long}` and the like.
fn repeated(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let times = after.split_once(':').and_then(|(times, _)| times.parse::<usize>().ok());
        let (Some(times), Some((inner, tail))) = (times, after.split_once('}')) else {
            whole = whole + before + "{";
            rest = after;
            continue;
        };
        let (_, what) = inner.split_once(':').expect("it was seen");
        whole = whole + before + &what.repeat(times);
        rest = tail;
    }
    whole + rest
}
