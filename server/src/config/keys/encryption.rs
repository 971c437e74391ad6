//! TLS.

use super::Property::{FileOnly, Prefixed};
use super::Status::RefusedIfSet;
use super::{keys, not_built};

keys! { Encryption:
    "sslQuorum", FileOnly, Flag, "false", "",
        "Encrypt the connections between servers."
        => RefusedIfSet("servers would talk to each other in the clear");
    "portUnification", FileOnly, Flag, "false", "",
        "Accept servers with and without TLS on one port."
        => not_built("the ports for other servers accept them without TLS only");
    "sslQuorumReloadCertFiles", FileOnly, Flag, "false", "",
        "Read the certificates between servers again when their files change."
        => not_built("no certificate is read");
    "client.portUnification", Prefixed, Flag, "false", "",
        "Accept clients with and without TLS on clientPort."
        => not_built("clientPort accepts clients without TLS only");
    "client.certReload", Prefixed, Flag, "false", "",
        "Read the certificates for clients again when their files change."
        => not_built("no certificate is read");
    "ssl.keyStore.location" (also "ssl.quorum.keyStore.location"), Prefixed, Text, "", "",
        "File with the server's key and certificate."
        => not_built("no certificate is read");
    "ssl.keyStore.password" (also "ssl.quorum.keyStore.password"), Prefixed, Secret, "", "",
        "Password of that file."
        => not_built("no certificate is read");
    "ssl.keyStore.passwordPath" (also "ssl.quorum.keyStore.passwordPath"), Prefixed, Text, "", "",
        "File with that password."
        => not_built("no certificate is read");
    "ssl.keyStore.type" (also "ssl.quorum.keyStore.type"), Prefixed, Text, "", "",
        "Format of that file: JKS, PEM, PKCS12 or BCFKS."
        => not_built("no certificate is read");
    "ssl.trustStore.location" (also "ssl.quorum.trustStore.location"), Prefixed, Text, "", "",
        "File with the certificates that are trusted."
        => not_built("no certificate is read");
    "ssl.trustStore.password" (also "ssl.quorum.trustStore.password"), Prefixed, Secret, "", "",
        "Password of that file."
        => not_built("no certificate is read");
    "ssl.trustStore.passwordPath" (also "ssl.quorum.trustStore.passwordPath"), Prefixed, Text, "", "",
        "File with that password."
        => not_built("no certificate is read");
    "ssl.trustStore.type" (also "ssl.quorum.trustStore.type"), Prefixed, Text, "", "",
        "Format of that file: JKS, PEM, PKCS12 or BCFKS."
        => not_built("no certificate is read");
    "ssl.protocol" (also "ssl.quorum.protocol"), Prefixed, Text, "", "",
        "TLS version."
        => not_built("no TLS port is opened");
    "ssl.enabledProtocols" (also "ssl.quorum.enabledProtocols"), Prefixed, Text, "", "",
        "TLS versions that are accepted."
        => not_built("no TLS port is opened");
    "ssl.ciphersuites" (also "ssl.quorum.ciphersuites"), Prefixed, Text, "", "",
        "TLS cipher suites that are accepted."
        => not_built("no TLS port is opened");
    "ssl.context.supplier.class" (also "ssl.quorum.context.supplier.class"), Prefixed, Text, "", "",
        "Java class that makes the TLS context."
        => not_built("no Java class is loaded");
    "ssl.hostnameVerification" (also "ssl.quorum.hostnameVerification"), Prefixed, Flag, "true", "",
        "Compare host names with those in certificates."
        => not_built("no certificate is looked at");
    "ssl.clientHostnameVerification" (also "ssl.quorum.clientHostnameVerification"), Prefixed, Flag, "", "",
        "Compare the host names of those who connect with those in their certificates."
        => not_built("no certificate is looked at");
    "ssl.allowReverseDnsLookup" (also "ssl.quorum.allowReverseDnsLookup"), Prefixed, Flag, "false", "",
        "Ask for the name behind an address when names are compared."
        => not_built("no certificate is looked at");
    "ssl.crl" (also "ssl.quorum.crl"), Prefixed, Flag, "false", "",
        "Check lists of revoked certificates."
        => not_built("no certificate is looked at");
    "ssl.ocsp" (also "ssl.quorum.ocsp"), Prefixed, Flag, "false", "",
        "Ask whether certificates were revoked."
        => not_built("no certificate is looked at");
    "ssl.clientAuth" (also "ssl.quorum.clientAuth"), Prefixed, Text, "need", "",
        "Whether those who connect must show a certificate: none, want or need."
        => not_built("nobody is asked for a certificate");
    "ssl.handshakeDetectionTimeoutMillis" (also "ssl.quorum.handshakeDetectionTimeoutMillis"), Prefixed, Int, "5000", "ms",
        "Time to find out whether a connection speaks TLS."
        => not_built("no TLS port is opened");
    "ssl.authProvider", Prefixed, Text, "x509", "",
        "Scheme that looks at clients' certificates."
        => not_built("no client shows a certificate");
    "ssl.sslProvider", Prefixed, Text, "JDK", "",
        "TLS library: JDK or OPENSSL."
        => not_built("no TLS port is opened");
    "ssl.*", Prefixed, Secret, "", "",
        "Other settings of TLS."
        => not_built("no TLS port is opened");
    "fips-mode", Prefixed, Flag, "true", "",
        "Keep to cryptography that FIPS allows."
        => not_built("no cryptography is switched on or off");
    "netty.server.outstandingHandshake.limit" (also "outstandingHandshake.limit"), Prefixed, Int, "-1", "connections",
        "TLS handshakes under way beyond which connections are closed."
        => not_built("no TLS port is opened");
    "netty.server.earlyDropSecureConnectionHandshakes", Prefixed, Flag, "false", "",
        "Close connections before their TLS handshake while the server does not serve."
        => not_built("no TLS port is opened");
}
