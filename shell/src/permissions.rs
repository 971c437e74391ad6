//! Commands on ACLs and identities: getAcl, setAcl, addauth, whoami.

use ferrokeeper_client::{ClientInfo, Error, ErrorCode};
use serde_json::json;

use crate::acl_text;
use crate::catalogue::Entry;
use crate::context::Context;
use crate::failure::Outcome;
use crate::failure::{Failure, code, exception};
use crate::json;
use crate::nodes::{check_path, version, visit};
use crate::options::Parsed;
use crate::render;

/// `getAcl`.
pub async fn get_acl(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let client = context.clients().await.here;
    let (acls, stat) = client.get_acl(path).await.map_err(|error| Failure::of(&error, Some(path)))?;
    context.output.document(|| json!({ "path": path, "acl": json::acl(&acls), "stat": json::stat(&stat) }));
    for acl in &acls {
        context.output.text(&render::acl(acl));
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
    complaints.iter().for_each(|complaint| context.output.warn(complaint));
    let version = version(parsed.value("v"))?;
    let client = context.clients().await.here;
    if parsed.has("R") {
        let mut refused = Vec::new();
        visit(&client, path, false, async |path| {
            let result = match acl.is_empty() {
                true => Err(Error::Refused(ErrorCode::InvalidAcl)),
                false => client.set_acl(path, &acl, version).await,
            };
            if let Err(error) = result {
                context.output.text(&exception(code(&error), Some(path)));
                if context.output.is_json() {
                    refused.push(json!({ "path": path, "code": format!("{:?}", code(&error)) }));
                }
            }
            Ok(())
        })
        .await?;
        context.output.document(|| json!({ "path": path, "refused": refused }));
        return Ok(());
    }
    if acl.is_empty() {
        check_path(&client, path)?;
        return Err(Failure::of(&Error::Refused(ErrorCode::InvalidAcl), None));
    }
    let stat = client.set_acl(path, &acl, version).await.map_err(|error| Failure::of(&error, Some(path)))?;
    context.output.document(|| json!({ "path": path, "stat": json::stat(&stat) }));
    context.show_stat_if(parsed, &stat);
    Ok(())
}

/// `addauth`. What a server does not accept is told by an event.
pub async fn add_auth(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let scheme = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let auth = parsed.argument(1).unwrap_or("");
    let client = context.clients().await.here;
    match client.add_credentials(scheme, auth.as_bytes()).await {
        Ok(()) => Ok(()),
        Err(Error::AuthFailed) if !context.output.is_json() => Ok(()),
        Err(error) => Err(Failure::of(&error, None)),
    }
}

/// `whoami`.
pub async fn who_am_i(context: &Context<'_>) -> Outcome {
    let client = context.clients().await.here;
    let identities = client.who_am_i().await.map_err(|error| Failure::of(&error, None))?;
    context.output.text("Auth scheme: User");
    for identity in &identities {
        context.output.text(&format!("{}: {}", identity.scheme, identity.user));
    }
    context.output.document(|| {
        let identity = |identity: &ClientInfo| json!({ "scheme": identity.scheme, "user": identity.user });
        json!({ "identities": identities.iter().map(identity).collect::<Vec<_>>() })
    });
    Ok(())
}
