/**
 * Keeps secrets out of what fltac says. No message is made with one in it; but texts come from elsewhere (a server that
 * repeats the key it was given, a library that tells a proxy's address), and all of them pass through here on their way out.
 */

/** Variables whose value is a secret. */
const SECRET_VARIABLE = /^(HF_TOKEN|HUGGING_FACE_HUB_TOKEN|OPENAI_API_KEY|.*_(TOKEN|API_KEY|SECRET|PASSWORD))$/i;

/** Shorter values are words that may stand in any text. */
const SHORTEST = 8;

/** User name and password of an address. */
const CREDENTIALS = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"'<>]+@/gi;

const HIDDEN = '***';

/** What takes the environment's secrets, and the user name and password of any address, out of a text. */
export function redactor(env: NodeJS.ProcessEnv): (text: string) => string {
  const secrets = Object.entries(env)
    .filter(([name, value]) => SECRET_VARIABLE.test(name) && (value ?? '').trim().length >= SHORTEST)
    .map(([, value]) => value!.trim())
    // A secret may be the beginning of another.
    .sort((a, b) => b.length - a.length);
  return (text) => {
    const addressed = text.replaceAll(CREDENTIALS, `$1${HIDDEN}@`);
    return secrets.reduce((shown, secret) => shown.replaceAll(secret, HIDDEN), addressed);
  };
}
