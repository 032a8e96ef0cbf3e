import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the hub and its cache are, and how long to be patient. */
export type HubSettings = {
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly cacheDir: string;
  readonly token: string | null;
  /** Use what is in the cache and nothing else. */
  readonly offline: boolean;
  /** Attempts in a row that bring nothing new before giving up. */
  readonly attempts: number;
  /** The pause after a first failure; it doubles each time. */
  readonly pauseMs: number;
  /** The longest pause, also when the server asks for a longer one. */
  readonly longestPauseMs: number;
  /** A connection that is silent for so long counts as cut. */
  readonly silenceMs: number;
};

/** The environment variables that the Python library knows, with its defaults.   (huggingface_hub: constants.py) */
export async function hubSettings(env: Environment): Promise<HubSettings> {
  const home = expand(env.HF_HOME || join(env.XDG_CACHE_HOME || '~/.cache', 'huggingface'));
  const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  if (!/^https?:\/\//i.test(endpoint) || !URL.canParse(endpoint)) {
    throw new InputError(`HF_ENDPOINT must be an http: or https: URL, got "${env.HF_ENDPOINT}"`);
  }
  return {
    endpoint,
    cacheDir: expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    token: isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? null : await findToken(env, home),
    offline: isOn(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    attempts: 5,
    pauseMs: 500,
    longestPauseMs: 60_000,
    silenceMs: 1000 * (Number(env.HF_HUB_DOWNLOAD_TIMEOUT) || 30),
  };
}

/** The variable, else what `hf auth login` left behind. */
async function findToken(env: Environment, home: string): Promise<string | null> {
  const given = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  const path = expand(env.HF_TOKEN_PATH || join(home, 'token'));
  const token = (given ?? (await readFile(path, 'utf8').catch(() => ''))).trim();
  // fetch would refuse it, and say it out loud in the message.
  if (/[^\x21-\x7e]/.test(token)) {
    throw new InputError(
      `the access token in ${given ? 'HF_TOKEN' : path} holds characters that no token has; copy it again`,
    );
  }
  return token || null;
}

const isOn = (value = ''): boolean => ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase());

const expand = (path: string): string => path.replace(/^~(?=$|[\\/])/, homedir());
