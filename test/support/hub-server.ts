/** A Hub for tests: serves folders over HTTP as the real one does, with faults on demand and a log of the requests. */
export { startHubServer } from '../../scripts/hub-server/server.mjs';
export type { HubFault, HubRequest, HubServer, HubServerOptions } from '../../scripts/hub-server/server.mjs';
