import { hubFolder } from '../../src/platform/hub-download.ts';
import { parseHubRepo } from '../../src/platform/hub-repo.ts';
import { hubSettings } from '../../src/platform/hub-settings.ts';

// A process of its own that fetches the repository in argv and prints the folder: to be killed, or to run beside others.
const repo = parseHubRepo(process.argv[2]);
if (repo === null) throw new Error(`${process.argv[2]} is no repository`);
console.log(await hubFolder(await hubSettings(process.env), repo));
