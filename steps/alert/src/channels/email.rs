//! E-mail, through an SMTP server (RFC 5321), with the encryption that the document sets.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use client::{masked, read_secret};
use contract::{StepError, Timestamp, artifact};
use document::channels::email::{EmailChannel, SmtpSecurity};
use fs_err as fs;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport as _};

use crate::channels::{Channel, Failure, MANY_REFUSALS, Opener, cut};
use crate::clean::clean;
use crate::message::Message;

/// Maximum number of characters of a reply that an error quotes.
const LONGEST_QUOTE: usize = 200;

/// Recipients behind an SMTP server.
#[derive(Debug)]
struct Email {
    name: String,
    settings: EmailChannel,
    folder: PathBuf,
}

impl Opener for EmailChannel {
    /// Names the recipients and the server.
    fn open(&self, folder: &Path) -> Box<dyn Channel> {
        Box::new(Email {
            name: format!("email {} by {}:{}", self.to.join(","), self.host, self.port()),
            settings: self.clone(),
            folder: folder.to_owned(),
        })
    }
}

impl Email {
    fn mail(&self, message: &Message) -> Result<lettre::Message, StepError> {
        let mailbox = |address: &str| -> Result<Mailbox, StepError> {
            address.parse().map_err(|e| {
                StepError::usage(format!(
                    "`alerts.channels.email`: `{address}` is not an address: {e}"
                ))
                .hint("write it as in on-call@example.com")
            })
        };
        let time = Duration::from_millis(u64::try_from(message.time.ms()).unwrap_or(0));
        // The id is the same for each repeat, so that a mail program shows the message once.
        let id = &artifact::sha256(message.key.as_bytes())[..32];
        let mut builder = lettre::Message::builder()
            .from(mailbox(&self.settings.from)?)
            .subject(&message.title)
            .date(SystemTime::UNIX_EPOCH + time)
            .message_id(Some(format!("<{id}@lynceus.invalid>")));
        for address in &self.settings.to {
            builder = builder.to(mailbox(address)?);
        }
        let part = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(message.text.clone());
        builder
            .singlepart(part)
            .map_err(|e| StepError::bug(format!("cannot write a message as e-mail: {e}")))
    }

    fn tls(&self) -> Result<Tls, StepError> {
        let secured: fn(TlsParameters) -> Tls = match self.settings.security {
            SmtpSecurity::None => return Ok(Tls::None),
            SmtpSecurity::Starttls => Tls::Required,
            SmtpSecurity::Tls => Tls::Wrapper,
        };
        client::use_ring();
        let wrong = |e| {
            StepError::usage(format!("cannot set up TLS for `alerts.channels.email`: {e}"))
                .hint("name the certificates to trust with alerts.channels.email.tls.ca_file")
        };
        let mut parameters = TlsParameters::builder(self.settings.host.clone());
        if let Some(ca_file) = &self.settings.tls.ca_file {
            let path = self.folder.join(ca_file);
            let pem = fs::read(&path).map_err(|e| StepError::reading(&path, &e))?;
            // A file without a certificate would trust no server.
            if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                let file = ca_file.display();
                return Err(StepError::usage(format!(
                    "`alerts.channels.email.tls.ca_file`: `{file}` contains no PEM certificate"
                ))
                .hint("name a PEM file: it begins with -----BEGIN CERTIFICATE-----"));
            }
            let certificate = Certificate::from_pem(&pem).map_err(wrong)?;
            parameters = parameters
                .certificate_store(CertificateStore::None)
                .add_root_certificate(certificate);
        }
        Ok(secured(parameters.build().map_err(wrong)?))
    }
}

impl Channel for Email {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, _: Timestamp) -> Result<(), Failure> {
        let mail = self.mail(message)?;
        let mut transport = SmtpTransport::builder_dangerous(&self.settings.host)
            .port(self.settings.port())
            .timeout(Some(self.settings.timeout.to_std()))
            .tls(self.tls()?);
        let mut password = None;
        if let (Some(username), Some(secret)) = (&self.settings.username, &self.settings.password) {
            let read = read_secret(secret, &self.folder)?;
            transport = transport.credentials(Credentials::new(username.clone(), read.clone()));
            password = Some(read);
        }
        transport.build().send(&mail).map(drop).map_err(|error| {
            let name = format!("SMTP server `{}:{}`", self.settings.host, self.settings.port());
            let said = masked(&error.to_string(), password.as_deref().unwrap_or_default());
            let said = clean(&cut(&said, LONGEST_QUOTE).replace('\n', " "));
            // RFC 5321: 552 means that the message is too large, 554 that the transaction failed;
            // the other permanent replies are about logins and mailboxes.
            let is_refusal = matches!(error.status().map(u16::from), Some(552 | 554));
            Failure {
                give_up_after: is_refusal.then_some(MANY_REFUSALS),
                may_be_the_message: error.is_transient(),
                ..StepError::unavailable(format!("{name}: {said}")).into()
            }
        })
    }
}
