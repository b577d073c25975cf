//! Addresses that are credentials themselves: webhooks.

use super::char_class::is_hex;
use super::value_shape::{is_random, is_uuid};

/// Hosts (or host suffixes) and the path prefix after which the path is a credential.
#[rustfmt::skip]
const WEBHOOKS: &[(&str, &str)] = &[
    ("hooks.slack.com", "/services/"), ("hooks.slack.com", "/workflows/"), ("hooks.slack.com", "/triggers/"), ("hooks.slack-gov.com", "/services/"),
    ("discord.com", "/api/webhooks/"), ("discordapp.com", "/api/webhooks/"),
    (".webhook.office.com", "/webhookb2/"), ("outlook.office.com", "/webhook/"), ("outlook.office365.com", "/webhook/"),
    ("api.telegram.org", "/bot"), ("api.telegram.org", "/file/bot"),
    ("events.pagerduty.com", "/integration/"), ("events.eu.pagerduty.com", "/integration/"), ("events.pagerduty.com", "/x-ere/"),
    ("hooks.zapier.com", "/hooks/"), ("zapier.com", "/hooks/"), ("alert.victorops.com", "/integrations/generic/"),
    ("open.feishu.cn", "/open-apis/bot/"), ("open.larksuite.com", "/open-apis/bot/"),
    ("hc-ping.com", "/"), ("hchk.io", "/"), ("nosnch.in", "/"), ("cronitor.link", "/"), ("maker.ifttt.com", "/trigger/"),
    ("webexapis.com", "/v1/webhooks/incoming/"), ("api.ciscospark.com", "/v1/webhooks/incoming/"),
    (".make.com", "/"), (".integromat.com", "/"), ("heartbeat.uptimerobot.com", "/"), ("uptime.betterstack.com", "/api/v1/heartbeat/"),
    ("api.squadcast.com", "/v2/incidents/api/"), ("support.squadcast.com", "/v1/incidents/"), (".hooks.n8n.cloud", "/"),
    ("api.flock.com", "/hooks/sendMessage/"), ("chat.zoho.com", "/api/"), ("hooks.glip.com", "/webhook/"), ("api.rootly.com", "/webhooks/incoming/"),
    ("collectors.sumologic.com", "/receiver/"), ("events.splunk.com", "/services/"), ("webhooks.mongodb-stitch.com", "/api/"),
    ("hook.ubeeqo.com", "/"), ("sctapi.ftqq.com", "/"), ("sc.ftqq.com", "/"), ("api.day.app", "/"), ("api.pushcut.io", "/"), ("hooks.airtable.com", "/"),
];

/// How the hosts end, to compare most hosts with few of them.
const ENDS: [[u8; 4]; WEBHOOKS.len()] = {
    let mut ends = [[0; 4]; WEBHOOKS.len()];
    let mut at = 0;
    while at < ends.len() {
        ends[at] = match WEBHOOKS[at].0.as_bytes().last_chunk() {
            Some(end) => *end,
            None => panic!("a host is longer"),
        };
        at += 1;
    }
    ends
};

/// Path segments that a credential may follow, on any host.
const BEFORE_SECRET: &[&str] = &[
    "hook",
    "heartbeat",
    "integration",
    "ping",
    "key",
    "token",
    "incoming",
    "apikey",
    "api-key",
    "bot",
    "alert",
    "receiver",
    "verify",
    "reset",
    "invite",
    "activate",
    "confirm",
    "magic",
];

/// The part of a path that is a credential. `path` begins with a slash and goes to the end of the address.
pub(super) fn secret_of_path(host: &str, path: &str) -> Option<(usize, usize)> {
    let query = path.bytes().position(|b| matches!(b, b'?' | b'#'));
    let end = query.unwrap_or(path.len());
    // Punctuation after an address.
    let end = path[..end]
        .trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '\'', '!'])
        .len();
    let mut host = host;
    while let Some(rest) = host.strip_prefix("www.") {
        host = rest;
    }
    let last = host.as_bytes().last_chunk();
    let likely = WEBHOOKS
        .iter()
        .zip(&ENDS)
        .filter(|(_, end)| last == Some(*end));
    for ((name, begin), _) in likely {
        let same = host == *name
            || host.ends_with(name)
                && (name.starts_with('.') || host[..host.len() - name.len()].ends_with('.'));
        if same && path.starts_with(begin) && end > begin.len() {
            return Some((begin.len(), end));
        }
    }
    let steps = path[1.min(path.len())..end].split('/');
    // Few steps may be credentials; only then what stands before one is examined, and each step once.
    let (mut at, mut armed, mut examined) = (1, false, 0);
    let mut before = steps.clone();
    for (place, step) in steps.enumerate() {
        if is_credential(step) {
            armed = armed
                || host.starts_with("hook")
                || host.contains("webhook")
                || before.by_ref().take(place - examined).any(precedes_secret);
            examined = place;
            if armed || is_bot(step) {
                return Some((at, end));
            }
        }
        at += step.len() + 1;
    }
    None
}

fn precedes_secret(step: &str) -> bool {
    BEFORE_SECRET
        .iter()
        .any(|word| contains_ignoring_case(step, word))
}

/// Telegram's `bot123456789:AA…`, also on a proxy's host.
fn is_bot(step: &str) -> bool {
    step.strip_prefix("bot").is_some_and(|rest| {
        rest.as_bytes().first().is_some_and(u8::is_ascii_digit) && rest.contains(':')
    })
}

fn is_credential(step: &str) -> bool {
    const LOWER_BYTES_MIN: usize = 12;
    // All but the token of a bot.
    const BYTES_MIN: usize = 10;
    let step = step.split('@').next().unwrap_or(step);
    if step.len() < BYTES_MIN {
        return is_bot(step);
    }
    let digits = step.bytes().filter(u8::is_ascii_digit).count();
    let hex = step.len() >= 16 && step.bytes().all(is_hex);
    let lower = step.len() >= LOWER_BYTES_MIN
        && digits >= 2
        && step
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    is_random(step) || is_uuid(step) || hex && digits > 0 || lower || is_bot(step)
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    const STEP_BYTES_MAX: usize = 40;
    text.len() <= STEP_BYTES_MAX
        && text
            .as_bytes()
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_of_path_harmless_path_is_none() {
        for (host, path) in [
            (
                "cert-manager-webhook.cert-manager.svc",
                "/mutate?timeout=30s",
            ),
            ("hooks.example", "/validate"),
            ("x.example", "/webhooks/deploy-2026"),
            ("github.com", "/acme/webhook/commit/fix-1"),
            ("discord.com", "/developers"),
        ] {
            assert_eq!(secret_of_path(host, path), None, "{host}{path}");
        }
    }
}
