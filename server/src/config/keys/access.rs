//! Access: authentication, ACLs and four-letter words.

use super::Property::{Exact, Prefixed};
use super::Status::{Built, NoEffect, RefusedIfSet};
use super::{keys, not_built};

keys! { Access:
    "4lw.commands.whitelist", Prefixed, Text, "", "",
        "Four-letter words that are answered, with commas between; * for all. srvr is always among them, isro with readonlymode.enabled."
        => Built;
    "readonlymode.enabled", Exact("readonlymode.enabled"), Flag, "false", "",
        "Serve reads, to clients that are content with that, while cut off from the ensemble. A server alone never is: there the key only adds isro to the answered words. Java reads it from -D only."
        => Built;
    "skipACL", Prefixed, OnlyYes, "no", "",
        "Leave all access control lists unchecked."
        => Built;
    "DigestAuthenticationProvider.enabled", Prefixed, Flag, "true", "",
        "Whether clients may identify themselves by user and password (scheme digest)."
        => Built;
    "DigestAuthenticationProvider.superDigest", Prefixed, Secret, "", "",
        "Digest of the user who may do everything, as user:base64; without it there is none."
        => Built;
    "DigestAuthenticationProvider.digestAlg", Prefixed, Text, "SHA1", "",
        "Hash of the scheme digest: MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224 or SHA-512/256."
        => Built;
    "enforce.auth.enabled", Prefixed, Flag, "false", "",
        "Serve only clients that identified themselves with one of enforce.auth.schemes."
        => RefusedIfSet("clients would be served without identifying themselves");
    "enforce.auth.schemes", Prefixed, Text, "", "",
        "The schemes that enforce.auth.enabled asks for."
        => not_built("no client has to identify itself, as in Java without enforce.auth.enabled=true");
    "sessionRequireClientSASLAuth", Prefixed, Flag, "false", "",
        "Serve only clients that identified themselves by SASL."
        => RefusedIfSet("clients would be served without identifying themselves");
    "allowSaslFailedClients", Prefixed, Flag, "false", "",
        "Keep the connection of a client that failed to identify itself by SASL."
        => not_built("no client can identify itself by SASL");
    "authProvider.*", Prefixed, Text, "", "",
        "Java class of another authentication scheme."
        => not_built("no Java class is loaded, and access control lists of its scheme are refused");
    "java.security.auth.login.config", Exact("java.security.auth.login.config"), Text, "", "",
        "JAAS file with the server's SASL login."
        => not_built("it is not read, and no client can identify itself by SASL");
    "sasl.serverconfig", Prefixed, Text, "Server", "",
        "Section of the JAAS file."
        => not_built("no client can identify itself by SASL");
    "superUser" (also "superUser.*"), Prefixed, Text, "", "",
        "SASL user who may do everything."
        => not_built("no client can identify itself by SASL");
    "SASLAuthenticationProvider.superPassword", Prefixed, Secret, "", "",
        "Password of the SASL user super."
        => not_built("no client can identify itself by SASL");
    "letAnySaslUserDoX", Prefixed, Text, "", "",
        "Identity in a list that stands for every SASL user."
        => not_built("no client can identify itself by SASL");
    "kerberos.removeHostFromPrincipal" (also "kerberos.removeRealmFromPrincipal" "kerberos.canonicalizeHostNames"), Prefixed, Flag, "false", "",
        "How Kerberos names are shortened."
        => not_built("no client can identify itself by Kerberos");
    "kerberos.minReLoginTimeMs", Prefixed, Long, "60000", "ms",
        "Time between two logins to Kerberos."
        => not_built("the server does not log in to Kerberos");
    "security.auth_to_local", Prefixed, Text, "DEFAULT", "",
        "Rules that turn Kerberos names into local ones."
        => not_built("no client can identify itself by Kerberos");
    "requireKerberosConfig", Prefixed, Flag, "false", "",
        "Insist on a Kerberos configuration."
        => not_built("no client can identify itself by Kerberos");
    "kinit", Prefixed, Text, "/usr/bin/kinit", "",
        "Program that renews Kerberos tickets."
        => not_built("no ticket is renewed");
    "server.realm", Prefixed, Text, "", "",
        "Kerberos realm of the server."
        => not_built("the server does not log in to Kerberos");
    "X509AuthenticationProvider.superUser", Prefixed, Text, "", "",
        "Name in a TLS certificate of the client who may do everything."
        => not_built("no client shows a certificate");
    "IPAuthenticationProvider.usexforwardedfor", Prefixed, Flag, "false", "",
        "Take a client's address from the header X-Forwarded-For of the admin server."
        => not_built("there is no admin server");
    "ensembleAuthName", Prefixed, Text, "", "",
        "Names of the ensemble that a client may give to make sure it is connected to the right one."
        => not_built("the scheme ensemble is not known, so that clients that use it are refused");
    "enableEagerACLCheck", Prefixed, Flag, "false", "",
        "Check lists on the server that a client is connected to before a write goes to the leader."
        => NoEffect("every write is checked before it is done anyway");
}
