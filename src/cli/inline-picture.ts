/** How this screen takes pictures between its lines; `null`: it does not, or nobody looks. */
export type InlinePictures = 'iterm' | 'kitty' | null;

/** By what terminals say of themselves: iTerm2, WezTerm and mintty share one protocol, kitty and Ghostty the other. */
export function inlinePictures(isTerminal: boolean, env: NodeJS.ProcessEnv): InlinePictures {
  if (!isTerminal || env.TMUX || env.STY) return null; // a multiplexer swallows them
  const program = env.TERM_PROGRAM ?? '';
  if (/^(?:iTerm\.app|WezTerm|mintty)$/.test(program)) return 'iterm';
  if (env.KITTY_WINDOW_ID || /kitty|ghostty/i.test(`${env.TERM ?? ''} ${program}`)) return 'kitty';
  return null;
}

const CHUNK = 4096; // kitty takes no longer piece of base64

/** Escape sequences that show a PNG two cells wide. */
export function pictureText(png: Uint8Array, how: Exclude<InlinePictures, null>): string {
  const data = Buffer.from(png).toString('base64');
  if (how === 'iterm') {
    return `\x1b]1337;File=inline=1;size=${png.length};width=2;height=1;preserveAspectRatio=1:${data}\x07`;
  }
  let text = '';
  for (let at = 0; at < data.length; at += CHUNK) {
    const head = at === 0 ? 'a=T,f=100,c=2,r=1,' : '';
    const more = at + CHUNK < data.length ? 1 : 0;
    text += `\x1b_G${head}m=${more};${data.slice(at, at + CHUNK)}\x1b\\`;
  }
  return text;
}
