//! Commands on ACLs and identities: getAcl, setAcl, addauth, whoami.

use ferrokeeper_client::{Error, ErrorCode};

use crate::acl_text;
use crate::catalogue::Entry;
use crate::failure::{Failure, code, exception};
use crate::nodes::{check_path, version, visit};
use crate::options::Parsed;
use crate::render;
use crate::shell::{Context, Outcome};

/// `getAcl`.
pub async fn get_acl(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let client = context.clients().await.here;
    let (acls, stat) = client.get_acl(path).await.map_err(|error| Failure::of(&error, Some(path)))?;
    for acl in &acls {
        context.screen.out(&render::acl(acl));
    }
    context.show_stat_if(parsed, &stat);
    Ok(())
}

/// `setAcl`. With -R, nodes that refuse are told and the others go on.
pub async fn set_acl(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let (Some(path), Some(text)) = (parsed.argument(0), parsed.argument(1)) else {
        return Err(Failure::new(entry.usage()));
    };
    let (acl, complaints) = acl_text::parse(text);
    context.complain(&complaints);
    let version = version(parsed.value("v"))?;
    let client = context.clients().await.here;
    if parsed.has("R") {
        return visit(&client, path, false, async |path| {
            let result = match acl.is_empty() {
                true => Err(Error::Refused(ErrorCode::InvalidAcl)),
                false => client.set_acl(path, &acl, version).await,
            };
            if let Err(error) = result {
                context.screen.out(&exception(code(&error), Some(path)));
            }
            Ok(())
        })
        .await;
    }
    if acl.is_empty() {
        check_path(&client, path)?;
        return Err(Failure::of(&Error::Refused(ErrorCode::InvalidAcl), None));
    }
    let stat = client.set_acl(path, &acl, version).await.map_err(|error| Failure::of(&error, Some(path)))?;
    context.show_stat_if(parsed, &stat);
    Ok(())
}

/// `addauth`. What a server does not accept is told by an event.
pub async fn add_auth(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let scheme = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let auth = parsed.argument(1).unwrap_or("");
    let client = context.clients().await.here;
    match client.add_credentials(scheme, auth.as_bytes()).await {
        Ok(()) | Err(Error::AuthFailed) => Ok(()),
        Err(error) => Err(Failure::of(&error, None)),
    }
}

/// `whoami`.
pub async fn who_am_i(context: &Context<'_>) -> Outcome {
    let client = context.clients().await.here;
    let identities = client.who_am_i().await.map_err(|error| Failure::of(&error, None))?;
    context.screen.out("Auth scheme: User");
    for identity in identities {
        context.screen.out(&format!("{}: {}", identity.scheme, identity.user));
    }
    Ok(())
}
