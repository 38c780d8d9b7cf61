package main

import (
	"fmt"
	"go/ast"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// catalogue names the tests of each attack on admission, capabilities, revocation, the
// committee, blocks, the DHT, logs and what runs out, and of each kind of bad input: folder
// and function. Every one of them has its negative control beside the attack: the same
// steps without it succeed.
var catalogue = map[string][]string{
	"IA-01 a stranger sweeps every protocol":          {"p2p/host.TestStrangerGetsNoProtocol", "testnet.TestStranger", "p2p/admission.TestAStrangerHearsNothingFromADesk"},
	"IA-02 a stranger waits for us to speak":          {"p2p/admission.TestResponderSaysNothingToStrangers", "p2p/admission.TestResponderAnswersATrueCredential"},
	"IA-03 a stranger pushes before admission":        {"p2p/host.TestStrangersWhoPush", "p2p/host.TestStrangersWhoPushAnOpenNode", "p2p/admission.TestMemberGetsInThroughAFlood"},
	"IA-04 a stolen credential":                       {"p2p/admission.TestStolenCredentialIsRefused", "acl/trust.TestMemberships", "acl/trust.TestRedemptionsThatAreRefused"},
	"IA-05 an expired, early or old credential":       {"acl/trust.TestMemberships", "acl/trust.TestWhoIsAdmitted", "node/daemon.TestRenewal", "node/daemon.TestAMemberThatSleptIsLetInAgain", "node/daemon.TestARecoveryShutsOutWhoWasReplaced"},
	"IA-06 k-1 signatures, duplicates, strangers'":    {"acl/trust.TestMemberships", "acl/trust.TestVerifyK", "acl/trust.TestAReencodedMembership", "acl/validator.TestAnInvitationLetsOnePeerIn"},
	"IA-07 another member's transcript":               {"p2p/admission.TestAReplayedTranscriptIsOfNoUse", "p2p/admission.TestEachConnectionHasItsOwnChallenges"},
	"IA-08 another peer at a known address":           {"p2p/host.TestAnotherPeerAtAKnownAddress", "p2p/admission.TestDialerRefusesAFalseResponder"},
	"IA-09 oversize, trickled, missing messages":      {"p2p/admission.TestResponderSaysNothingToStrangers", "p2p/admission.TestAStrangerHearsNothingFromADesk", "p2p/admission.FuzzResponder", "p2p/admission.FuzzDeskResponder"},
	"IA-10 2,000 half-open handshakes":                {"p2p/host.TestTwoThousandHalfOpenHandshakes", "p2p/host.TestMemberGetsInThroughHalfOpenConnections"},
	"IA-13 a downgrade to plaintext or Noise":         {"p2p/host.TestNoOtherSecureChannel", "p2p/host.TestAcceptedTCPIsPostQuantum", "p2p/host.TestQUICIsPostQuantum"},
	"IA-14 other transports and relays":               {"p2p/host.TestOnlyTCPAndQUIC", "p2p/host.TestRelaysAreOff", "p2p/host.TestAStrangerThroughARelayGetsNothing"},
	"input: invitations that do not parse":            {"acl/trust.TestInvitesThatAreRefused", "testnet.TestInvitationsThatAreBad"},
	"input: invitations used, revoked or expired":     {"acl/validator.TestInvitationsOfNoUse", "acl/validator.TestARedemptionIsDurable", "testnet.TestJoin"},
	"input: invitations to another network":           {"acl/validator.TestInvitationsOfNoUse", "node/daemon.TestInvitationsToOtherHistories"},
	"CA-01 a forged grant":                            {"acl/capability.TestForgedGrants", "acl/capability.TestForgedStandingConsents", "acl/capability.TestEveryBitOfAChainCounts", "acl/trust.TestVerifyK", "acl/validator.TestTheChainsOfOthersAreDenied"},
	"CA-02 a grant used on another object":            {"acl/capability.TestWhatAGrantCovers", "acl/validator.TestWhatAGrantDoesNotCoverIsDenied", "node/daemon.TestLeaseAllows"},
	"CA-03 a grant used by another than its audience": {"acl/capability.TestAChainOpensForItsAudienceAlone", "acl/capability.TestProofsThatAreNoProofs", "acl/validator.TestTheChainsOfOthersAreDenied"},
	"CA-04 a delegation that is wider":                {"acl/capability.TestALinkIsNoWider", "acl/capability.TestSubjects", "acl/capability.TestEveryAbilityWithEveryCaveat", "acl/capability.TestLinksOutOfPlace", "acl/capability.TestLongChainsTakenApart", "acl/validator.TestADelegateReadsAndNoMore"},
	"CA-05 loops and long chains":                     {"acl/capability.TestLongChainsAreRefusedByCounting", "acl/capability.TestHostileChainsAreRefused", "acl/capability.TestChainsOfEight", "acl/capability.TestDocumentsAreVerifiedBehindTheRoot", "acl/capability.BenchmarkHostileChain"},
	"CA-06 a request replayed or altered":             {"acl/validator.TestAProofIsForOneRequestOnOneConnection", "acl/capability.TestProofsThatAreReplayed", "acl/capability.TestAProofWorksOnce", "p2p/admission.TestCountersAreUsedOnce"},
	"CA-07 clocks a day off, no expiry":               {"acl/validator.TestAClockMoreThanAMinuteAwayIsDenied", "acl/validator.TestAValidatorWhoseClockIsADayOff", "acl/capability.TestTime", "acl/capability.TestGrantsThatNobodyMayMake", "acl/revocation.TestClocksThatDisagree"},
	"CA-08 a node that fetches for another":           {"node/daemon.TestAReaderFetchesForNobodyElse", "node/daemon.TestLeaseAllows"},
	"CA-09 encodings that are not canonical":          {"crypto/statement.TestNonCanonicalEncodingsAreRefused", "crypto/statement.TestMapsOfFieldsAreStrict", "acl/capability.TestBodiesHaveOneEncoding", "acl/capability.TestEnvelopesHaveOneEncoding"},
	"CA-11 a signature of another kind":               {"acl/capability.TestKindsAreNotExchanged", "acl/trust.TestAMembershipIsOfOneKind", "acl/trust.TestARecordOfAnotherKind", "acl/identity.TestARecordIsOfOneKind", "acl/revocation.TestAnAnswerIsOfOneKind"},
	"RV-01 revoked in the middle":                     {"p2p/exchange.TestRevokedInMidTransfer", "p2p/exchange.TestNoBlockAfterTheLeaseDies", "testnet.TestRevokedInTheMiddle", "acl/validator.TestARevocationStopsAReleaseUnderWay", "acl/validator.TestTenThousandReleasesRaceARevocation"},
	"RV-02 too few validators told":                   {"acl/validator.TestTooFewAcknowledgementsStopNobody", "node/quorum.TestARevocationIsEffectiveOrSaysSo"},
	"RV-03 the revoked reader comes back":             {"acl/validator.TestARevokedReaderComesBack", "acl/validator.TestWhoMayRevokeWhat"},
	"RV-04 cut off from revocations":                  {"acl/revocation.TestFreshnessEnds", "acl/validator.TestAValidatorThatHearsNobodyReleasesNothing", "node/daemon.TestLeaseEnds"},
	"RV-05 forged, replayed, rolled-back revocations": {"acl/capability.TestForgedRevocationsStopNothing", "acl/validator.TestTwoValidatorsStopAGrantAndOneDoesNot", "acl/validator.TestABogusEntryInALogStopsNobody", "acl/revocation.TestHeadsOutliveTheProcess", "acl/revocation.TestALogOfJunkIsNotPulledFurther", "acl/validator.TestLoneRevocationsAreBounded", "acl/validator.TestLoneErasuresAreBounded"},
	"RV-06 a stolen device":                           {"acl/identity.TestAThiefWithADeviceEvictsNobody", "acl/identity.TestADisposedDeviceAddsNobody", "acl/validator.TestRemovedDevicePassesNowhere", "acl/capability.TestARemovedDeviceProvesNothing", "node/daemon.TestHolderRefusesThief", "testnet.TestStolenPhone"},
	"TH-01 a validator signs twice":                   {"acl/trust.TestSigningTwiceIsProved", "acl/trust.TestTheGuardPermitsOnce", "acl/policy.TestForkIsKept", "acl/revocation.TestWithoutStartingTheOldLogIsAFork", "node/daemon.TestAProofTravels"},
	"TH-02 t-1 or k-1 collude":                        {"crypto/committee.TestTooFewSharesFitEverySecret", "crypto/committee.TestEverySubsetOfTRecoversAndEveryShareChecks", "node/quorum.TestSilenceIsUnavailableAndRefusalIsDenied", "acl/trust.TestVerifyK", "acl/validator.TestKSignaturesMakeAGrant"},
	"TH-03 rotations that mix or leave old shares":    {"acl/validator.TestARenewalReSharesEverything", "acl/validator.TestOldSharesAreGone", "acl/validator.TestAValidatorIsReplaced", "node/quorum.TestSharesOfTwoDealingsDoNotMix"},
	"TH-04 a validator withholds, delays, lies":       {"node/quorum.TestALiarIsNamedAndReadingSucceeds", "node/quorum.TestNobodyWaitsForTheSlowest", "node/quorum.TestAnAnswerToSomethingElseDoesNotCount", "crypto/committee.TestOpenNamesLiars", "acl/revocation.TestAStalledValidator", "node/quorum.TestTheNewestVersionIsNotHidden"},
	"TH-05 a validator dies in a rotation":            {"acl/validator.TestAValidatorDiesInTheMiddle", "acl/validator.TestARotationWithoutADeadValidator"},
	"TH-06 a share off its dealing, a lying dealer":   {"acl/validator.TestAShareOffItsDealingIsRefused", "acl/validator.TestALyingDealerIsNamedAndHarmless", "acl/validator.TestADealerThatShowsTwoPolynomialsIsLeftOut", "crypto/committee.TestBatchNamesExactlyTheWrongOnes", "crypto/committee.TestRushingDealerShowsTheIdentityToOneReceiverOnly"},
	"TH-07 a deposit under somebody else's name":      {"acl/validator.TestTwoOwnersNoncesDoNotCollide", "acl/validator.TestADepositOfAnothersObjectIsRefused", "acl/validator.TestNobodyElseMovesALineage", "acl/capability.TestAnotherOwnersNonce"},
	"TH-08 a validator from an old backup":            {"acl/validator.TestAStartingValidatorDoesNothingThatCounts", "acl/revocation.TestAValidatorFromAnOldBackup", "acl/revocation.TestAStartingValidatorMakesNobodyFresh", "acl/validator.TestAValidatorThatWasDownErasesWhenItIsBack"},
	"TH-09 thieves ahead of a root recovery":          {"acl/trust.TestThievesWhoRanAheadLose", "node/daemon.TestARecoveryShutsOutWhoWasReplaced", "acl/revocation.TestARecoveryVoidsHolds"},
	"TH-10 a deposit after an erasure":                {"acl/validator.TestADepositAfterAnErasureIsRefused", "acl/validator.TestAnErasureWhileARotationIsUnderWay", "acl/validator.TestAReSharedShareOfAnErasedKeyDoesNotLive", "acl/validator.TestNoReleaseAfterTheReceipt"},
	"input: exported logs that do not hold":           {"acl/audit/evidence.TestNoByteOfABundleMayChange", "acl/audit/evidence.TestALogThatWasRolledBackOrForked", "acl/audit/evidence.TestADirectoryOfTilesHoldsOrNot", "acl/audit/evidence.TestTheNetworkMustBeTheAuditors", "acl/audit/evidence.TestTheRecordsSayWhoseLogItIs", "acl/audit/evidence.TestTheOwnerCannotLieInDisclosures", "acl/audit/evidence.TestWitnesses", "testnet.TestAuditorWithNothingButFiles"},
	"input: receipts that do not hold":                {"acl/audit/receipt.TestForgedReceipts", "acl/audit/receipt.TestAProofIsOfTheEntryThatWasPromised", "acl/audit/evidence.TestReceiptsThatDoNotHold", "acl/validator.TestOnlyOwnReceiptsAreRedeemed", "node/quorum.TestReceiptsThatAreNoneAreDropped"},
	"input: a promise that is broken":                 {"node/quorum.TestAPromiseIsBrokenOrCannotBeAsked", "acl/audit/evidence.TestAReceiptConvictsALogThatWasRewritten"},
	"input: a syslog server that is gone":             {"node/forward.TestEntriesArriveAndGoOnAfterBreaksAndStarts", "node/forward.TestWhoIsGoneForTooLongFindsAGapMark"},
	"BX-01 a refusal tells whether a block is here":   {"p2p/exchange.TestRefusalsAreTheSameBytes", "p2p/exchange.TestRefusalsTakeTheSameTime"},
	"BX-02 bytes that are not the CID's, weak hashes": {"p2p/exchange.TestHolderLies", "p2p/exchange.TestInvalidRequests", "p2p/exchange.TestBombs", "p2p/exchange.TestHoldersThatAreOfNoUse", "crypto/envelope.TestParseNodeRefuses", "crypto/envelope.TestManifestRules"},
	"BX-04 huge lengths on many streams":              {"p2p/exchange.TestLengthsAreCheckedBeforeTheBytesCome", "p2p/exchange.TestAnnouncedRequestsCostLittle", "p2p/exchange.TestStreamsAreLimited"},
	"BX-06 bombs of DAGs":                             {"p2p/exchange.TestBombs", "p2p/exchange.TestDeepPayload", "p2p/exchange.TestNodeUnderTwoParents", "crypto/envelope.TestParseNodeRefuses", "node/object.TestPayloadsAreNotWalkedForEver"},
	"BX-07 ciphertext that was tampered with":         {"p2p/exchange.TestHolderLies", "p2p/exchange.TestHolderGoesAway", "crypto/envelope.TestTamperedCiphertextIsRefused", "crypto/envelope.TestLeavesRefuseTampering", "crypto/envelope.TestHeaderBombsAreRefused"},
	"BX-09 hostile CAR files":                         {"node/object.TestDamagedCARs", "node/object.TestForeignAndIncompleteCARs", "node/object.TestPayloadsAreNotWalkedForEver"},
	"BX-10 every decoder is fuzzed":                   {"p2p/exchange.FuzzRequest", "p2p/exchange.FuzzResponse", "crypto/envelope.FuzzManifest", "crypto/envelope.FuzzNode", "crypto/envelope.FuzzFileRoot", "crypto/envelope.FuzzHeader", "crypto/envelope.FuzzDecrypt", "acl/capability.FuzzAuthority"},
	"BX-11 a manifest over somebody's payload":        {"node/daemon.TestAManifestOverSomebodysPayload", "node/daemon.TestLeaseAllows", "testnet.TestMirrorTakesNothingFromAnotherObject", "node/daemon.TestMirrorCountsNothingOfAnotherObject", "node/object.TestForgetSparesBlocksOfOthers"},
	"BX-12 a chain shown to one holder, at another":   {"node/daemon.TestAReaderFetchesForNobodyElse", "acl/capability.TestProofsThatAreReplayed", "p2p/exchange.TestAuthorityIsMadeForConnectionAndRequest"},
	"DH-01 a flood of provider records":               {"p2p/discovery.TestAFloodOfProviders", "p2p/discovery.TestFloodsAreBounded"},
	"DH-02 providers who are strangers, or elsewhere": {"p2p/discovery.TestProvidersAreMembersAlone", "p2p/host.TestPeersCannotSendUsAnywhere", "p2p/host.TestWhatMayBeDialed", "p2p/discovery.TestOnlyMembersAreReturned"},
	"DH-03 an eclipse by 20 that collude":             {"node/daemon.TestAnEclipsedReaderReads", "p2p/discovery.TestAnEclipse", "testnet.TestMirror"},
	"PS-01 floods, replays and forgeries of pubsub":   {"..TestNoPubsub"},
	"RE-01 10,000 connections":                        {"p2p/host.TestTenThousandConnections", "p2p/host.TestConnectionsOfOneMember", "p2p/host.TestTwoThousandHalfOpenHandshakes"},
	"RE-02 10,000 streams that nobody reads":          {"p2p/host.TestTenThousandStreams", "p2p/exchange.TestStreamsAreLimited", "p2p/rpc.TestTooManyCallsOfOnePeer"},
	"RE-03 slow readers and writers":                  {"p2p/rpc.TestSlowCallers", "p2p/exchange.TestReceiverThatStopsReading", "p2p/exchange.TestHolderStalls", "p2p/exchange.TestOffencesOfWhoAsks", "p2p/admission.TestResponderSaysNothingToStrangers", "node/api/client.TestSlowCallers", "node/api/client.TestStreamsAreBounded"},
	"RE-04 no descriptors, no disk, no inodes":        {"testnet.TestFullDisk", "testnet.TestNoDescriptors", "node/store.TestRoom", "node/object.TestAnAddThatFailsLeavesNothing", "node/store.TestAReallyFullDisk"},
	"input: clocks off by a day":                      {"node/daemon.TestAClockADayOff", "acl/validator.TestAValidatorWhoseClockIsADayOff", "acl/trust.TestMemberships", "acl/revocation.TestClocksThatDisagree", "node/daemon.TestInvitationsToOtherHistories"},
	"input: an address of a private host":             {"p2p/host.TestWhatMayBeDialed", "p2p/host.TestPeersCannotSendUsAnywhere", "p2p/host.TestAPeerHasUsDialLittle", "p2p/host.TestOnlyOurRelaysSayWhereWeAre"},
	"input: holders that lie, or stop in the middle":  {"p2p/exchange.TestHolderLies", "p2p/exchange.TestHolderGoesAway", "p2p/exchange.TestHoldersThatAreOfNoUse", "p2p/exchange.TestResumeAfterADisconnect", "node/daemon.TestWhoIsBlamedForWhatItGave", "node/daemon.TestMirrorNoticesWhatIsGone"},
	"input: messages that no honest peer sends":       {"node/daemon.TestJunkBarsWhoSendsIt", "node/daemon.TestAnAnswerThatCannotBeRead", "p2p/rpc.TestOffencesOfCallers", "p2p/rpc.TestOffencesOfAnswers"},
	"input: a relay that is used without end":         {"p2p/host.TestARelayIsNotUsedUp", "p2p/host.TestARelayServesMembersOnly"},
	"input: records with duplicate keys":              {"crypto/statement.TestNonCanonicalEncodingsAreRefused", "acl/capability.TestBodiesHaveOneEncoding", "acl/trust.TestAKeyInTwoPlaces", "acl/trust.TestOneValidatorsSignatureTwice"},
	"input: records out of order":                     {"acl/trust.TestSuccessorsThatAreRefused", "acl/trust.TestADraftThatDoesNotFollowIsNotSigned", "acl/trust.TestEveryOrderLeadsToTheSameRecord", "acl/identity.TestRecoveriesFollowOneAnother", "acl/policy.TestHistoryRefuses", "acl/validator.TestVersionsFollowOneAnother"},
	"input: records that have expired":                {"acl/trust.TestARecordLivesFromItsBeginningToItsEnd", "acl/trust.TestAnExpiredRecordIsSucceeded", "acl/validator.TestAnExpiredCommitteeTakesNoDeposits", "acl/validator.TestWhoMaySignAndKeepARole", "acl/policy.TestRoleRefused"},
	"input: records of another network":               {"acl/trust.TestSuccessorsThatAreRefused", "acl/policy.TestHistoryRefuses", "acl/validator.TestADealingForOthersIsRefused", "node/daemon.TestAdoptRefuses", "acl/validator.TestRevokingIsIdempotentDurableAndBound"},
	"input: policies that do not parse or type-check": {"acl/policy.TestPolicyRefusedAtLoad", "acl/policy.TestBundleRefusedAtLoad", "acl/policy.TestLoadSaysWhere"},
	"input: policies that lock everyone out":          {"acl/policy.TestCheckFindsLockouts"},
	"input: deposits whose shares do not match":       {"acl/validator.TestAShareOffItsDealingIsRefused", "acl/validator.TestADepositForOthersIsRefused"},
	"input: deposits over quota":                      {"acl/validator.TestAnOwnersDepositsAreBounded", "acl/validator.TestAnOwnersBytesAreBounded", "acl/validator.TestAPeersDepositsAreBounded", "acl/validator.TestConcurrentDepositsKeepTheQuota"},
	"input: deposits for a key id that exists":        {"acl/validator.TestOneKeyIDHasOneManifest", "acl/validator.TestAHigherNumberReplacesALower", "acl/validator.TestConcurrentDepositsOfOneKey"},
	"input: requests from the future":                 {"acl/validator.TestAValidatorWhoseClockIsADayOff", "acl/capability.TestProofsThatAreReplayed"},
	"input: validators that lie, stall, equivocate":   {"acl/revocation.TestLiesDoNotCount", "acl/revocation.TestLiesAboutWhatWasSeen", "acl/revocation.TestAStalledValidator", "node/quorum.TestALiarIsNamedAndReadingSucceeds", "acl/revocation.TestWithoutStartingTheOldLogIsAFork", "node/quorum.TestRivalsAreNoticed"},
	"input: validators that come from an old backup":  {"acl/revocation.TestAValidatorFromAnOldBackup", "acl/validator.TestAStartingValidatorDoesNothingThatCounts"},
	"AU-01 an edited, reordered or truncated log":     {"acl/audit.TestAFlippedByteAnywhereIsFoundAndNamed", "acl/audit.TestEveryByteOfAThousandEntriesCounts", "acl/audit.TestRecordsRemovedMovedOrRepeatedAreFound", "acl/audit.TestALogCutBelowItsCheckpointIsRefused", "acl/audit.TestRule8WhatIsMissingOfAPrunedLogIsNamed", "acl/audit.TestEveryBitOfABundleCounts", "acl/audit/evidence.TestNoByteOfABundleMayChange"},
	"AU-04 forged proofs":                             {"acl/audit.TestProofsHoldAndOnlyForWhatTheyProve", "acl/audit.TestAForgedBundleIsRefusedAndTheFirstFaultIsNamed", "acl/audit/receipt.TestForgedReceipts", "acl/audit/receipt.TestAProofIsOfTheEntryThatWasPromised", "acl/audit/evidence.TestReceiptsThatDoNotHold", "acl/audit/evidence.TestTheOwnerCannotLieInDisclosures", "node/dossier.TestAForgedEventIsFound"},
	"AU-05 an act that cannot be logged":              {"acl/validator.TestNoShareLeavesBeforeItIsLogged", "acl/validator.TestSigningNeedsFreshnessPolicyAndTheLog", "acl/validator.TestADepositThatCannotBeLoggedLeavesNoShareBehind", "acl/validator.TestAnErasureThatCannotBeLoggedDestroysNothing", "acl/audit/journal.TestWhatCannotBeRecordedIsRefused", "acl/audit/journal.TestWithoutATableOfPersonsNothingIsRecorded", "node/daemon.TestReadsThatCannotBeRecorded"},
	"input: logs rolled back with their checkpoint":   {"acl/audit.TestRule5ALogRolledBackWithItsCheckpointBreaksWhatWasCosigned", "acl/audit.TestAForkIsFound", "acl/audit/evidence.TestALogThatWasRolledBackOrForked", "acl/audit/evidence.TestAReceiptConvictsALogThatWasRewritten"},
	"input: logs on disks that fail or are full":      {"acl/audit.TestRule4AfterAnErrorOfTheDiskNothingIsWrittenUntilReopened", "acl/audit.TestALyingDiskIsFoundOut", "acl/audit.TestWithoutRoomForASegmentTheLogEnds", "acl/audit.TestAFailedCheckpointEndsTheLog", "acl/audit/sidecar.TestAfterAFailedWriteOrFlushNothingIsWrittenUntilReopened", "acl/audit.TestFiveHundredPowerCutsLoseNothing"},
	"input: two processes on one log":                 {"acl/audit.TestRule6TwoProcessesOnOneLog", "acl/audit.TestRule6OneLogHasOneWriter"},
	"input: an export with a bundle missing":          {"acl/audit/evidence.TestADirectoryOfTilesHoldsOrNot", "acl/audit.TestOthersReadTheExportedTiles"},
	"input: a syslog target that is gone":             {"node/forward.TestEntriesArriveAndGoOnAfterBreaksAndStarts", "node/forward.TestWhoIsGoneForTooLongFindsAGapMark", "node/forward.TestEntriesThatWereRemovedLeaveAGapMark"},
	"AU-02 a rolled-back log":                         {"acl/audit.TestALogThatDoesNotContinueWhatItSignedStops", "acl/audit/witness.TestARolledBackLogStops", "node/daemon.TestAnOldCopyOfTheLogsFolderIsFoundAtTheStart", "testnet/simulation.TestWitnessing"},
	"input: logs that fork":                           {"acl/audit/witness.TestTwoHistoriesOfOneSizeAreEvidence", "acl/audit/witness.TestAProofOfAnotherHistoryIsEvidence", "acl/audit/witness.TestWitnessesFindAForkByComparing", "acl/audit/witness.TestEvidenceSpreads", "testnet/simulation.TestAForkIsKnownEverywhere"},
	"input: witnesses offline, lying, rolled back":    {"acl/audit/witness.TestALogIsWitnessedWhileOneWitnessIsOffline", "acl/audit/witness.TestALyingWitnessDoesNotCount", "acl/audit/witness.TestARolledBackWitnessFindsOut", "acl/audit/witness.TestALogShowsAWitnessWhatItForgot"},
	"input: requests to witnesses that are no such":   {"acl/audit/witness.TestWhatAWitnessRefuses", "acl/audit/witness.TestOneOriginHasOnePeerAndOneKey", "acl/audit/witness.FuzzRequest", "node/daemon.TestBadBodiesOnTheWire", "node/daemon.TestWhoMayAskAWitness"},
}

// TestCatalogue fails where a test that the catalogue names is gone.
func TestCatalogue(t *testing.T) {
	for _, missing := range uncovered(catalogue, load(t, os.DirFS("."))) {
		t.Error(missing)
	}
	for _, group := range []struct {
		name  string
		count int
		not   []int
	}{{"IA", 14, []int{11, 12}}, {"CA", 11, []int{10}}, {"RV", 6, nil}, {"TH", 10, nil}, {"BX", 12, []int{3, 5, 8}}, {"DH", 3, nil}, {"PS", 1, nil}, {"RE", 4, nil}, {"AU", 5, []int{3}}} {
		for i := range group.count {
			id := fmt.Sprintf("%s-%02d ", group.name, i+1)
			if slices.Contains(group.not, i+1) {
				continue
			}
			found := 0
			for name := range catalogue {
				if strings.HasPrefix(name, id) {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%sstands in the catalogue %d times", id, found)
			}
		}
	}
}

// TestNoPubsub (PS-01): nothing here publishes to many, so that nobody can flood, replay
// or forge there. Whoever brings pubsub in brings its tests too.
func TestNoPubsub(t *testing.T) {
	seen := 0
	for _, s := range load(t, os.DirFS(".")) {
		for _, p := range s.imports() {
			if strings.Contains(p, "libp2p") {
				seen++ // the control: imports are seen
			}
			if strings.Contains(p, "pubsub") {
				t.Errorf("%s imports %s", s.path, p)
			}
		}
	}
	if seen == 0 {
		t.Error("no import is seen")
	}
}

// uncovered lists what a catalogue names and the sources lack.
func uncovered(list map[string][]string, all []*source) (missing []string) {
	have := map[string]bool{}
	for _, s := range all {
		if !s.test() {
			continue
		}
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				have[s.dir()+"."+f.Name.Name] = true
			}
		}
	}
	for id, tests := range list {
		if len(tests) == 0 {
			missing = append(missing, id+": no test covers it")
		}
		for _, name := range tests {
			if !have[name] {
				missing = append(missing, fmt.Sprintf("%s: there is no %s", id, name))
			}
		}
	}
	slices.Sort(missing)
	return missing
}

func TestCatalogueCanFail(t *testing.T) {
	files := fstest.MapFS{
		"a/a_test.go": {Data: []byte("package a\n\nfunc TestOne() {}\n\ntype x int\n\nfunc (x) TestTwo() {}\n")},
		"a/a.go":      {Data: []byte("package a\n\nfunc TestThree() {}\n")},
	}
	got := uncovered(map[string][]string{"1": {"a.TestOne"}, "2": {"a.TestTwo"}, "3": {"a.TestThree"}, "4": {"b.TestOne"}, "5": {}}, load(t, files))
	want := []string{"2: there is no a.TestTwo", "3: there is no a.TestThree", "4: there is no b.TestOne", "5: no test covers it"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
