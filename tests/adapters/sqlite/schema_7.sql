BEGIN TRANSACTION;
CREATE TABLE file_moves (source TEXT PRIMARY KEY, target TEXT NOT NULL);
CREATE TABLE job_charges (
        job INTEGER NOT NULL, until REAL NOT NULL, kind TEXT NOT NULL, account TEXT NOT NULL, length REAL,
        PRIMARY KEY (job, until)) WITHOUT ROWID;
CREATE TABLE job_counts (
        kind TEXT NOT NULL, state TEXT NOT NULL, jobs INTEGER NOT NULL, PRIMARY KEY (kind, state)) WITHOUT ROWID;
INSERT INTO "job_counts" VALUES('send','queued',2);
CREATE TABLE job_results (
        job INTEGER NOT NULL, number INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (job, number)) WITHOUT ROWID;
CREATE TABLE job_traces (job INTEGER PRIMARY KEY, trace TEXT NOT NULL);
CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, account TEXT NOT NULL DEFAULT '',
        data TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'queued'
            CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        due REAL, attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
        paid INTEGER NOT NULL DEFAULT 0, worker TEXT, checkpoint TEXT, result TEXT, detail TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '[]', results INTEGER NOT NULL DEFAULT 0, done REAL,
        total REAL, added REAL NOT NULL, began REAL, since REAL, since_done REAL, seen REAL, ended REAL, wait REAL);
INSERT INTO "jobs" VALUES(1,'send','Held','{"to":"@news","text":"hello"}',0,'queued',4000000000.0,0,0,0,NULL,NULL,NULL,'','[]',0,NULL,NULL,1.79598126646875524527e+09,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(2,'send','','{"to":"@news","text":"later"}',0,'queued',NULL,0,0,0,NULL,NULL,NULL,'','[]',0,NULL,NULL,1.79598126646875524527e+09,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE journal (
            seq INTEGER PRIMARY KEY, at REAL NOT NULL, account INTEGER NOT NULL REFERENCES names,
            life INTEGER NOT NULL, source INTEGER NOT NULL REFERENCES names, event INTEGER NOT NULL REFERENCES names,
            target INTEGER NOT NULL REFERENCES names, rule INTEGER NOT NULL REFERENCES names, attempt INTEGER NOT NULL,
            failures INTEGER NOT NULL, delay REAL, draw REAL, deadline REAL, dwell REAL NOT NULL,
            body TEXT NOT NULL);
INSERT INTO "journal" VALUES(1,1000001.0,1,1,2,3,2,4,0,0,NULL,NULL,NULL,1.0,'{"payload":{"credentials":""},"effects":["AskTurn"]}');
INSERT INTO "journal" VALUES(2,1000002.0,1,1,2,5,2,6,1,0,NULL,NULL,1000062.0,2.0,'{"payload":{"generation":0,"credentials":null},"effects":["Open"]}');
INSERT INTO "journal" VALUES(3,1000003.0,1,1,2,7,8,9,1,0,NULL,NULL,NULL,3.0,'{"payload":{"link":1,"via":"","held":false},"effects":["ReleaseWork","ArmStable","ArmProbe"]}');
INSERT INTO "journal" VALUES(4,1000004.0,1,1,8,10,8,11,0,0,NULL,NULL,NULL,1.0,'{"payload":{"generation":1},"effects":[]}');
INSERT INTO "journal" VALUES(5,1000001.0,12,1,2,3,2,4,0,0,NULL,NULL,NULL,1.0,'{"payload":{"credentials":""},"effects":["AskTurn"]}');
INSERT INTO "journal" VALUES(6,1000002.0,12,1,2,5,2,6,1,0,NULL,NULL,1000062.0,2.0,'{"payload":{"generation":0,"credentials":null},"effects":["Open"]}');
INSERT INTO "journal" VALUES(7,1000003.0,12,1,2,7,8,9,1,0,NULL,NULL,NULL,3.0,'{"payload":{"link":1,"via":"","held":false},"effects":["ReleaseWork","ArmStable","ArmProbe"]}');
INSERT INTO "journal" VALUES(8,1000004.0,12,1,8,10,8,11,0,0,NULL,NULL,NULL,1.0,'{"payload":{"generation":1},"effects":[]}');
INSERT INTO "journal" VALUES(9,1000005.0,12,1,8,13,8,14,0,0,NULL,NULL,NULL,2.0,'{"payload":{"link":1,"detail":"","chain":[],"seconds":6000.0,"request":"messages.sendMessage"},"effects":["HoldRequests"]}');
INSERT INTO "journal" VALUES(10,1000001.0,15,1,2,3,2,4,0,0,NULL,NULL,NULL,1.0,'{"payload":{"credentials":""},"effects":["AskTurn"]}');
INSERT INTO "journal" VALUES(11,1000002.0,15,1,2,5,2,6,1,0,NULL,NULL,1000062.0,2.0,'{"payload":{"generation":0,"credentials":null},"effects":["Open"]}');
INSERT INTO "journal" VALUES(12,1000003.0,15,1,2,7,8,9,1,0,NULL,NULL,NULL,3.0,'{"payload":{"link":1,"via":"","held":false},"effects":["ReleaseWork","ArmStable","ArmProbe"]}');
INSERT INTO "journal" VALUES(13,1000004.0,15,1,8,16,17,18,1,1,10.0,1.34364244112401221009e-01,1000014.0,1.0,'{"payload":{"link":1,"detail":"connection reset by peer","chain":[]},"effects":["HoldWork","Close","Wait"]}');
INSERT INTO "journal" VALUES(14,1000005.0,15,1,17,19,20,21,1,1,NULL,NULL,NULL,1.0,'{"payload":{"generation":2},"effects":["AskTurn"]}');
INSERT INTO "journal" VALUES(15,1000006.0,15,1,20,5,20,22,2,1,NULL,NULL,1000081.0,1.0,'{"payload":{"generation":3,"credentials":null},"effects":["Open"]}');
INSERT INTO "journal" VALUES(16,1000007.0,15,1,20,16,17,23,2,2,20.0,8.47433736937232673369e-01,1000027.0,2.0,'{"payload":{"link":2,"detail":"no route to host","chain":[]},"effects":["Close","Wait"]}');
INSERT INTO "journal" VALUES(17,1000001.0,24,1,2,3,2,4,0,0,NULL,NULL,NULL,1.0,'{"payload":{"credentials":""},"effects":["AskTurn"]}');
INSERT INTO "journal" VALUES(18,1000002.0,24,1,2,5,2,6,1,0,NULL,NULL,1000062.0,2.0,'{"payload":{"generation":0,"credentials":null},"effects":["Open"]}');
INSERT INTO "journal" VALUES(19,1000003.0,24,1,2,25,26,27,1,1,NULL,NULL,NULL,3.0,'{"payload":{"link":1,"detail":"AUTH_KEY_UNREGISTERED","chain":[]},"effects":["Close","Release","AlertUnusable"]}');
INSERT INTO "journal" VALUES(20,1000001.0,28,1,2,3,2,4,0,0,NULL,NULL,NULL,1.0,'{"payload":{"credentials":""},"effects":["AskTurn"]}');
INSERT INTO "journal" VALUES(21,1000002.0,28,1,2,5,2,6,1,0,NULL,NULL,1000062.0,2.0,'{"payload":{"generation":0,"credentials":null},"effects":["Open"]}');
INSERT INTO "journal" VALUES(22,1000003.0,28,1,2,7,8,9,1,0,NULL,NULL,NULL,3.0,'{"payload":{"link":1,"via":"","held":false},"effects":["ReleaseWork","ArmStable","ArmProbe"]}');
INSERT INTO "journal" VALUES(23,1000004.0,28,1,8,29,30,31,1,0,NULL,NULL,NULL,1.0,'{"payload":{"reason":"paused by the operator","paused":true},"effects":["HoldWork","Close"]}');
INSERT INTO "journal" VALUES(24,1000005.0,28,1,30,32,30,33,1,0,NULL,NULL,NULL,1.0,'{"payload":{"generation":2},"effects":["Finish"]}');
CREATE TABLE lives (
            account INTEGER NOT NULL REFERENCES names, life INTEGER NOT NULL, at REAL NOT NULL,
            policy INTEGER NOT NULL REFERENCES policies, snapshot TEXT NOT NULL, pruned_to INTEGER NOT NULL DEFAULT 0, base TEXT, PRIMARY KEY (account, life));
INSERT INTO "lives" VALUES(1,1,1000000.0,1,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":0,"holds":[],"last_success":null,"life":1,"limited":null,"link":0,"links":0,"offline":null,"paused":false,"proved_at":null,"reconnects":0,"resumes":"connecting","silences":0,"since":1000000.0,"stable":false,"state":"connecting","streak":0,"wait":null}',0,NULL);
INSERT INTO "lives" VALUES(12,1,1000000.0,1,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":0,"holds":[],"last_success":null,"life":1,"limited":null,"link":0,"links":0,"offline":null,"paused":false,"proved_at":null,"reconnects":0,"resumes":"connecting","silences":0,"since":1000000.0,"stable":false,"state":"connecting","streak":0,"wait":null}',0,NULL);
INSERT INTO "lives" VALUES(15,1,1000000.0,1,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":0,"holds":[],"last_success":null,"life":1,"limited":null,"link":0,"links":0,"offline":null,"paused":false,"proved_at":null,"reconnects":0,"resumes":"connecting","silences":0,"since":1000000.0,"stable":false,"state":"connecting","streak":0,"wait":null}',0,NULL);
INSERT INTO "lives" VALUES(24,1,1000000.0,1,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":0,"holds":[],"last_success":null,"life":1,"limited":null,"link":0,"links":0,"offline":null,"paused":false,"proved_at":null,"reconnects":0,"resumes":"connecting","silences":0,"since":1000000.0,"stable":false,"state":"connecting","streak":0,"wait":null}',0,NULL);
INSERT INTO "lives" VALUES(28,1,1000000.0,1,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":0,"holds":[],"last_success":null,"life":1,"limited":null,"link":0,"links":0,"offline":null,"paused":false,"proved_at":null,"reconnects":0,"resumes":"connecting","silences":0,"since":1000000.0,"stable":false,"state":"connecting","streak":0,"wait":null}',0,NULL);
CREATE TABLE logins (
        account INTEGER PRIMARY KEY REFERENCES names, login TEXT NOT NULL, user INTEGER);
CREATE TABLE messages (
        owner TEXT NOT NULL, chat INTEGER NOT NULL, id INTEGER NOT NULL, at REAL NOT NULL, sender INTEGER,
        text TEXT NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (owner, chat, id)) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO "names" VALUES(1,'Healthy');
INSERT INTO "names" VALUES(2,'connecting');
INSERT INTO "names" VALUES(3,'Started');
INSERT INTO "names" VALUES(4,'connecting.Started');
INSERT INTO "names" VALUES(5,'TurnGranted');
INSERT INTO "names" VALUES(6,'connecting.TurnGranted');
INSERT INTO "names" VALUES(7,'Connected');
INSERT INTO "names" VALUES(8,'healthy');
INSERT INTO "names" VALUES(9,'connecting.Connected');
INSERT INTO "names" VALUES(10,'Stable');
INSERT INTO "names" VALUES(11,'healthy.Stable');
INSERT INTO "names" VALUES(12,'Held');
INSERT INTO "names" VALUES(13,'FloodWait');
INSERT INTO "names" VALUES(14,'healthy.FloodWait');
INSERT INTO "names" VALUES(15,'Lost');
INSERT INTO "names" VALUES(16,'NetworkLost');
INSERT INTO "names" VALUES(17,'backoff');
INSERT INTO "names" VALUES(18,'healthy.NetworkLost');
INSERT INTO "names" VALUES(19,'Elapsed');
INSERT INTO "names" VALUES(20,'reconnecting');
INSERT INTO "names" VALUES(21,'backoff.Elapsed');
INSERT INTO "names" VALUES(22,'reconnecting.TurnGranted');
INSERT INTO "names" VALUES(23,'reconnecting.NetworkLost');
INSERT INTO "names" VALUES(24,'Rejected');
INSERT INTO "names" VALUES(25,'AuthRejected');
INSERT INTO "names" VALUES(26,'auth_failed');
INSERT INTO "names" VALUES(27,'connecting.AuthRejected');
INSERT INTO "names" VALUES(28,'Paused');
INSERT INTO "names" VALUES(29,'StopRequested');
INSERT INTO "names" VALUES(30,'shutting_down');
INSERT INTO "names" VALUES(31,'healthy.StopRequested');
INSERT INTO "names" VALUES(32,'Closed');
INSERT INTO "names" VALUES(33,'shutting_down.Closed');
CREATE TABLE policies (id INTEGER PRIMARY KEY, policy TEXT NOT NULL UNIQUE);
INSERT INTO "policies" VALUES(1,'{"connecting":{"patience":[60.0,75.0,90.0]},"healthy":{"probe_every":20.0,"prove_every":60.0,"stable_after":60.0},"timeout":{"patience":[10.0,20.0]},"backoff":{"network":{"first":10.0,"factor":2.0,"cap":120.0,"jitter":0,"tries":5,"then":"keep_trying"},"server":{"first":10.0,"factor":2.0,"cap":120.0,"jitter":0,"tries":5,"then":"keep_trying"},"database":{"first":5.0,"factor":1.0,"cap":5.0,"jitter":0.0,"tries":5,"then":"keep_trying","alert_after":30.0},"flood":{"slack":1.0},"transport_flood":{"first":30.0,"factor":2.0,"cap":900.0,"jitter":0.2,"tries":5,"then":"keep_trying"},"auth_key":{"first":5.0,"factor":2.0,"cap":900.0,"jitter":0.2,"tries":5,"then":"keep_trying"},"unexpected":{"first":10.0,"factor":2.0,"cap":120.0,"jitter":0,"tries":5,"then":"keep_trying"}},"reconnecting":{"patience":[60.0,75.0,90.0]},"shutting_down":{"grace":15.0}}');
CREATE TABLE present (
            account INTEGER PRIMARY KEY REFERENCES names, life INTEGER NOT NULL, engine TEXT NOT NULL);
INSERT INTO "present" VALUES(1,1,'the engine of schema 7');
INSERT INTO "present" VALUES(12,1,'the engine of schema 7');
INSERT INTO "present" VALUES(15,1,'the engine of schema 7');
INSERT INTO "present" VALUES(24,1,'the engine of schema 7');
INSERT INTO "present" VALUES(28,1,'the engine of schema 7');
CREATE TABLE renames (at REAL NOT NULL, former TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE snapshots (
            account INTEGER PRIMARY KEY REFERENCES names, seq INTEGER NOT NULL, at REAL NOT NULL,
            snapshot TEXT NOT NULL);
INSERT INTO "snapshots" VALUES(1,4,1000004.0,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":1,"holds":[],"last_success":1000003.0,"life":1,"limited":null,"link":1,"links":1,"offline":null,"paused":false,"proved_at":1000003.0,"reconnects":0,"resumes":"connecting","silences":0,"since":1000003.0,"stable":true,"state":"healthy","streak":0,"wait":null}');
INSERT INTO "snapshots" VALUES(12,9,1000005.0,'{"attempt":0,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":1,"holds":[{"length":6001.0,"request":"messages.sendMessage","until":1006006.0}],"last_success":1000003.0,"life":1,"limited":null,"link":1,"links":1,"offline":null,"paused":false,"proved_at":1000003.0,"reconnects":0,"resumes":"connecting","silences":0,"since":1000003.0,"stable":true,"state":"healthy","streak":0,"wait":null}');
INSERT INTO "snapshots" VALUES(15,16,1000007.0,'{"attempt":2,"cause":{"detail":"no route to host","event":"NetworkLost"},"credentials":"","database":null,"deadline":1000027.0,"exhausted":false,"failures":2,"generation":4,"holds":[],"last_success":1000003.0,"life":1,"limited":null,"link":0,"links":2,"offline":null,"paused":false,"proved_at":1000003.0,"reconnects":0,"resumes":"connecting","silences":0,"since":1000007.0,"stable":false,"state":"backoff","streak":2,"wait":20.0}');
INSERT INTO "snapshots" VALUES(24,19,1000003.0,'{"attempt":1,"cause":{"detail":"AUTH_KEY_UNREGISTERED","event":"AuthRejected"},"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":1,"generation":1,"holds":[],"last_success":null,"life":1,"limited":null,"link":0,"links":1,"offline":null,"paused":false,"proved_at":null,"reconnects":0,"resumes":"connecting","silences":0,"since":1000003.0,"stable":false,"state":"auth_failed","streak":1,"wait":null}');
INSERT INTO "snapshots" VALUES(28,24,1000005.0,'{"attempt":1,"cause":null,"credentials":"","database":null,"deadline":null,"exhausted":false,"failures":0,"generation":2,"holds":[],"last_success":1000003.0,"life":1,"limited":null,"link":0,"links":1,"offline":null,"paused":true,"proved_at":1000003.0,"reconnects":0,"resumes":"connecting","silences":0,"since":1000004.0,"stable":false,"state":"shutting_down","streak":0,"wait":null}');
CREATE INDEX journal_by_account ON journal (account);
CREATE INDEX journal_by_time ON journal (at);
CREATE INDEX jobs_ready ON jobs (kind, account, priority DESC, id) WHERE state = 'queued' AND due IS NULL;
CREATE INDEX jobs_waiting ON jobs (due) WHERE state = 'queued' AND due IS NOT NULL;
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_ended ON jobs (ended) WHERE state IN ('done', 'cancelled');
CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
        INSERT INTO job_counts VALUES (NEW.kind, NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1; END;
CREATE TRIGGER job_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE kind = OLD.kind AND state = OLD.state;
        INSERT INTO job_counts VALUES (NEW.kind, NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1; END;
CREATE TRIGGER job_removed AFTER DELETE ON jobs BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE kind = OLD.kind AND state = OLD.state;
        DELETE FROM job_results WHERE job = OLD.id; END;
CREATE INDEX job_charges_by_time ON job_charges (until);
CREATE TRIGGER job_trace_removed AFTER DELETE ON jobs BEGIN
        DELETE FROM job_traces WHERE job = OLD.id; END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',2);
COMMIT;
PRAGMA user_version = 7;
